"""How a build runs: the order of its stages over ports that adapters implement."""
