"""The ports of a build, on this host."""
