"""Hosts workflows and activities; supervises the local Temporal server and itself."""
