"""The crypto stage: constant time for real; the other areas say why they were not looked at."""

from lutlab_verify.crypto.engine import RESULT, run

__all__ = ["RESULT", "run"]
