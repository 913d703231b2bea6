"""The `lutlab` command, a noun per module."""
