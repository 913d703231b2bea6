"""What the agent does: program boards, serve their bus, register; through the ports of `ports.py`."""
