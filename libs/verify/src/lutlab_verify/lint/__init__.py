"""The lint stage: slang for errors, Verilator for warnings, yosys for structure, one list."""

from lutlab_verify.lint.engine import RESULT, run

__all__ = ["RESULT", "run"]
