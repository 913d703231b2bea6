"""The outside world: openFPGALoader, serial ports, NATS, the state file."""
