"""The gateware around a user's design: serial line, Wishbone bridge, clock, reset. Only the builder elaborates it."""
