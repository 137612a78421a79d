"""The long-running processes of the handlers, each of which serves one trigger."""
