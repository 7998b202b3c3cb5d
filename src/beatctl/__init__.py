"""beatctl: durable loops for coding agents, on Temporal."""

__version__ = "0.1.0"
