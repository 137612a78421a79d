"""The HTTP server: storage notifications, health, and the API with its guards."""
