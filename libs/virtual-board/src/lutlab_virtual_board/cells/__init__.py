"""One module per kind of cell: how its configuration becomes a part of the netlist."""
