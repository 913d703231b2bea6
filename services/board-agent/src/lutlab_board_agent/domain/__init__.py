"""Pure decisions of the board agent: no clock, no I/O, no logging."""
