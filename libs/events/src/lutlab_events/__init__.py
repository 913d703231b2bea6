"""The shared vocabulary: commands, events, work items, subjects. Pure data; knows no service, clock or I/O."""
