"""Load, decide, append: the scheduler's work, against ports."""
