"""Whether what an observer sees in each cycle depends on secrets: taint, two runs side by side, invariants of both."""
