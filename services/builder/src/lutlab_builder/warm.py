"""Make the first build as quick as any other: compile the tools, build the base designs, and say why it takes time.

Everything made here is kept, so a second warm-up only looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lutlab_builder.adapters.tools import WASM_TOOLS, InstalledTools
from lutlab_builder.app.ports import LogSink, Stage
from lutlab_builder.app.run_build import Builder


@dataclass(frozen=True)
class WarmStep:
    """One step of a warm-up, told when it begins and again when it is done.

    Attributes:
        number, total: where it stands, from 1.
        text: what happens, for a person.
        why: why it takes time, and how long.
        seconds: how long it took; None while it runs.
        was_done: there was nothing left to do.
    """

    number: int
    total: int
    text: str
    why: str
    seconds: float | None = None
    was_done: bool = False


Progress = Callable[[WarmStep], None]


class _Quiet:
    """A LogSink that nobody listens to."""

    def stage(self, stage: Stage) -> None:
        """Nothing."""

    def line(self, stage: Stage, text: str) -> None:
        """Nothing."""


_QUIET: LogSink = _Quiet()


async def warm(builder: Builder, tools: InstalledTools, profiles: Sequence[str], progress: Progress) -> None:
    """Compile what is not compiled and build the base design of each profile.

    Args:
        profiles: names of device profiles.
        progress: called twice a step, see `WarmStep`.

    Raises:
        BuildFailure: a tool does not work here, or a base design cannot be built.
    """
    total = len(WASM_TOOLS) + len(profiles)
    for number, tool in enumerate(WASM_TOOLS, 1):
        why = f"{tool.title} is WebAssembly: compiled for this processor once, about {tool.typical_s} s, then kept"
        step = WarmStep(number, total, f"compiling {tool.title}", why)
        progress(step)
        started = time.monotonic()
        compiled_now = await tools.compile(tool)
        progress(_done(step, started, was_done=not compiled_now))
    for number, profile in enumerate(profiles, len(WASM_TOOLS) + 1):
        why = "boards run it while nobody uses them: synthesized, placed and routed once, 5 to 15 s, then kept"
        step = WarmStep(number, total, f"building the base design for {profile}", why)
        progress(step)
        started = time.monotonic()
        built = await builder.build_base(profile, _QUIET)
        progress(_done(step, started, was_done=built.cached))


def _done(step: WarmStep, started: float, *, was_done: bool) -> WarmStep:
    seconds = round(time.monotonic() - started, 2)
    return WarmStep(step.number, step.total, step.text, step.why, seconds, was_done)
