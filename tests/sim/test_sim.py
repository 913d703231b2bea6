"""The simulation, its short form: 150 seeds, a seed that repeats itself, planted bugs that are noticed.

It runs in processes of its own, whose hashing of strings is the same every time. `make sim SEEDS=10000` is the long
form.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def sim(*arguments: str) -> str:
    """What `python -m lutlab_sim` says; fails with it."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "lutlab_sim", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_hundred_and_fifty_seeds_lose_double_and_strand_nothing() -> None:
    assert "no failure" in sim("--seeds", "150")


def test_a_seed_repeats_itself_exactly() -> None:
    assert "the same twice" in sim("--seed", "11")


def test_planted_bugs_are_noticed() -> None:
    said = sim("--mutants", "--seeds", "150")
    assert "MISSED" not in said
    caught, total = (int(word) for word in said.splitlines()[-1].split()[:3:2])
    assert caught == total >= 10
