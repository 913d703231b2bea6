"""Reading the warm-up's progress."""

from __future__ import annotations

from lutlab_stack.warming import WarmStep, last_step

PRINTED = (
    "[1/3] compiling nextpnr-ecp5 (nextpnr-ecp5 is WebAssembly: compiled once, about 5 s, then kept) ... 4.9 s\n"
    "[2/3] compiling ecppack (ecppack is WebAssembly: compiled once, about 1 s, then kept) ... "
)


def test_the_step_that_runs_is_told_with_its_reason() -> None:
    step = last_step(PRINTED)
    assert step == WarmStep(2, 3, "compiling ecppack (ecppack is WebAssembly: compiled once, about 1 s, then kept)", "")


def test_a_step_that_is_over_has_an_outcome() -> None:
    step = last_step(PRINTED + "already done\n")
    assert step is not None
    assert (step.number, step.outcome) == (2, "already done")


def test_before_the_first_step_there_is_nothing_to_tell() -> None:
    assert last_step("") is None
    assert last_step("some log line\n") is None
