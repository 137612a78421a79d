"""Authentication and limits: what stands between the network and the routes."""
