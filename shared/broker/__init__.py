"""The to-do list between the wings: named queues, confirmed publishing, leased
deliveries.

Nothing here relies on what only one transport has. A message is published to the
default exchange under its queue's name, confirmed, within a time limit; it is settled
by `ack` or `dead`, never rejected or requeued; a delivery is held by a lease that its
holder renews. Import from the modules: `topology`, `publisher`, `consumer`, `depth`,
`dead`.
"""
