"""A lab in one process, on a virtual clock, driven by one seed.

The real scheduler (its terms of leadership, writer, readers, timers, NATS link), the real board agent and the real
builder protocol run over a NATS and a ledger in memory that lose, repeat, delay, reorder, crash, part and move clocks.
`python -m lutlab_sim --help` (with `tests/sim` on PYTHONPATH), or `make sim`.
"""
