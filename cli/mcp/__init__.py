"""The MCP server: a second face on the same calls as the command line.

`server` speaks the protocol, `tool` says what a tool is, `words` turns messages into ones that name tools; the tools
themselves are in `starting`, `looking`, `waiting` and `acting`. `clients` writes the entry that agents need.
"""
