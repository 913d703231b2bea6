"""The formal stage: bounded search, k-induction and covers over the properties of a design."""

from lutlab_verify.formal.engine import RESULT, run

__all__ = ["RESULT", "run"]
