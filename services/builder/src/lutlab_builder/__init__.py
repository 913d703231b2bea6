"""The builder: turns an uploaded design into a bitstream and a report, in a sandbox."""
