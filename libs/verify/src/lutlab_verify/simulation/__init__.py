"""The simulation stage: cocotb tests and Verilog test benches on Icarus or Verilator, with coverage and traces."""

from lutlab_verify.simulation.engine import RESULT, run

__all__ = ["RESULT", "run"]
