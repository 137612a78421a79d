"""What every process needs to run: settings, logs, heartbeat, retries, failpoints."""
