"""Designs to build, and what a test wants of a builder."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from lutlab_builder.__main__ import Room
from lutlab_builder.app.ports import Stage
from lutlab_builder.app.run_build import Built
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_builder.settings import default_cache_dir

PROFILE = "lfe5u-25f"
EXAMPLES = Path(__file__).parents[3] / "examples"
# Compiling the tools takes seconds and depends on no test: share it between runs.
TOOLS_DIR = default_cache_dir() / "builder" / "tools"
Build = Callable[..., Awaitable[Built]]

PORTS = """input clk, input rst, input wb_cyc, input wb_stb, input wb_we, input [8:0] wb_adr, input [31:0] wb_dat_w,
           input [3:0] wb_sel, output [31:0] wb_dat_r, output wb_ack"""


def verilog(name: str, body: str = "assign wb_dat_r = 0; assign wb_ack = wb_cyc & wb_stb;", ports: str = PORTS) -> str:
    return f"module {name}({ports});\n{body}\nendmodule\n"


AMARANTH = """
from amaranth.hdl import *

class {name}(Elaboratable):
    def __init__(self):
        self.wb_cyc, self.wb_stb, self.wb_we, self.wb_ack = Signal(), Signal(), Signal(), Signal()
        self.wb_adr, self.wb_dat_w, self.wb_sel, self.wb_dat_r = Signal({bits}), Signal(32), Signal(4), Signal(32)
    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.wb_ack.eq(self.wb_cyc & self.wb_stb)
        {body}
        return m
"""


def amaranth(name: str = "Design", bits: int = 9, body: str = "pass") -> str:
    return AMARANTH.format(name=name, bits=bits, body=body)


class Recorder:
    """A LogSink that remembers."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.lines: list[tuple[Stage, str]] = []

    def stage(self, stage: Stage) -> None:
        self.stages.append(stage)

    def line(self, stage: Stage, text: str) -> None:
        self.lines.append((stage, text))

    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)


def make_zip(files: Mapping[str, bytes], manifest: object) -> bytes:
    """A project zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mrg-project.json", json.dumps(manifest))
        for path, data in files.items():
            archive.writestr(path, data)
    return out.getvalue()


def building(room: Room, recorder: Recorder) -> Build:
    """A function that builds a source text in this room."""

    async def run(filename: str, source: str | bytes, **options: object) -> Built:
        data = source.encode() if isinstance(source, str) else source
        chosen = Options(profile=str(options.pop("profile", PROFILE)), **options)  # type: ignore[arg-type]
        return await room.builder.build(BuildRequest(filename, data, chosen), recorder)

    return run
