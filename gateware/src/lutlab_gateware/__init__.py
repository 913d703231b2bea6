"""The gateware around a user's design: serial line, Wishbone bridge, clock and reset. Only the builder elaborates it."""
