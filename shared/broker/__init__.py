"""Messages between the wings: named queues, confirmed publishing, leased deliveries.

Nothing here relies on what only one broker has. A message is published to the default
exchange under its queue's name, and confirmed within a time limit. It is acknowledged
or becomes a dead letter, and is never rejected or requeued. A delivery is held by a
lease that its holder renews. Import from the modules: `topology`, `publisher`,
`consumer`, `depth`, `dead_letter`.
"""
