"""The ground both wings stand on: contracts, identity, storage, broker, telemetry.
Imports no wing.
"""

__version__ = "0.2.0"
