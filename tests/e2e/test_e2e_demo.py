"""`make demo`, as a stranger runs it."""

from __future__ import annotations

import subprocess

from e2e_support import BIN, ROOT


def test_the_demo_goes_well() -> None:
    done = subprocess.run([BIN / "lutlab", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    for told in (
        "building (place-and-route)",
        "LUT ",
        "Fmax",
        "read back equal",
        "board.programmed.v1",
        "board.reset.v1",
    ):
        assert told in printed
