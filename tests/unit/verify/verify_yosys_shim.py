"""Stands in for the `yosys` program where SymbiYosys calls it: `yosys -ql LOG SCRIPT`, with the library of the
wheel."""

import sys

from pyosys import libyosys

libyosys.run_pass(f"tee -q -o {sys.argv[-2]} script {sys.argv[-1]}", libyosys.Design())
