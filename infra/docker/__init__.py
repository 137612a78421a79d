"""Images, services and rights for `compose.yaml`."""
