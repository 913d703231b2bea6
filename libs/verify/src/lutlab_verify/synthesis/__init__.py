"""The synthesis stage: what a design needs of a device and how fast it is there; elsewhere an estimate of its area."""

from lutlab_verify.synthesis.engine import RESULT, run

__all__ = ["RESULT", "run"]
