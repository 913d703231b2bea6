"""Real bitstreams, built once a session, two at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from vb_places import ALU_PLACES, PLACES, RESETS_PLACES
from vb_process import BoardProcess
from vb_toolchain import Build, build

import lutlab_profiles
from lutlab_virtual_board.programming import Translator

BUILDERS = 2
"""Builds at once: the tools are single-threaded, and the machines that run this have two cores."""

SOC = ["uart.v", "soc.v"]
UNSUPPORTED = ("oscillator", "jtag", "odd_divider", "fast_pad", "", "", "divider", "moving_delay")
"""Tests' names of the kinds of the design `unsupported`."""

Builder = Callable[[Path], Build]

BUILDS: dict[str, Builder] = {
    "everything": lambda folder: build(folder, "everything", ["everything.v"]),
    "instances": lambda folder: build(folder, "instances", ["everything.v", "instances.v"], bels=PLACES),
    "resets": lambda folder: build(folder, "resets", ["everything.v", "instances.v"], bels=RESETS_PLACES),
    "derived": lambda folder: build(folder, "derived", ["everything.v", "derived.v"]),
    "alus": lambda folder: build(folder, "alus", ["everything.v", "alu.v"], bels=ALU_PLACES, pack_raw=False),
    **{
        name: lambda folder, name=name: build(folder, name, ["everything.v", "derived.v", "selectors.v"])  # type: ignore[misc]
        for name in ("selectors", "divided", "ringing")
    },
    "reset_product": lambda folder: build(
        folder, "reset_product", ["everything.v", "pads.v", "derived.v", "unusual.v"], pack_raw=False
    ),
    "soc": lambda folder: build(folder, "soc", SOC),
    "soc85": lambda folder: build(folder, "soc", SOC, "lfe5um5g-85f"),
    "pll": lambda folder: build(folder, "pll", [*SOC, "pll.v"]),
    "domains": lambda folder: build(folder, "domains", ["everything.v", "domains.v"]),
    "gsr": lambda folder: build(folder, "gsr", ["gsr.v"]),
    "sgsr": lambda folder: build(folder, "gsr", ["gsr.v"], parameters={"SYNC": 1}),
    **{
        name: lambda folder, kind=kind: build(folder, "unsupported", ["unsupported.v"], parameters={"KIND": kind})  # type: ignore[misc]
        for kind, name in enumerate(UNSUPPORTED)
        if name
    },
}


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Build]]:
    """A build by its name in BUILDS; all are started at once, and each test waits for its own."""
    pool = ThreadPoolExecutor(BUILDERS)
    started: dict[str, Future[Build]] = {
        name: pool.submit(builder, tmp_path_factory.mktemp(name)) for name, builder in BUILDS.items()
    }
    yield lambda name: started[name].result()
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of all boards and translators of this session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def translator(cache: Path) -> Translator:
    """Of the smaller board model."""
    return Translator(lutlab_profiles.get("lfe5u-25f"), cache)


@pytest.fixture
def board(tmp_path: Path, cache: Path) -> Iterator[BoardProcess]:
    """A running board of the smaller model."""
    with BoardProcess(tmp_path, cache) as running:
        yield running
