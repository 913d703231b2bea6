"""Designs that build, and what is said about them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from builder_support import EXAMPLES, PROFILE, Build, Recorder, amaranth, building, make_zip, verilog

from lutlab_builder.__main__ import Room, make_room
from lutlab_builder.adapters.child import family
from lutlab_builder.app.ports import Stage
from lutlab_builder.domain.errors import BuildFailure
from lutlab_builder.domain.report import BuildReport
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_builder.settings import Settings

STAGES = list(Stage)


async def test_an_amaranth_example_builds(build: Build, recorder: Recorder) -> None:
    built = await build("design.py", (EXAMPLES / "echo_memory" / "design.py").read_bytes())
    report = built.artifacts.report
    assert not built.cached
    assert recorder.stages == STAGES
    assert [stage.name for stage in report.stages] == [str(stage) for stage in STAGES]
    assert {stage for stage, _ in recorder.lines} >= {Stage.SYNTHESIZE, Stage.PLACE_AND_ROUTE}
    assert (report.target, report.address_words, report.baud) == ("EchoMemory", 512, 12_500_000)
    assert report.synth_cells["DP16KD"] >= 1
    assert report.util["bram"].used >= 1
    assert report.util["logic"].available == 24288
    assert report.fmax_mhz is not None
    assert report.fmax_mhz > 50
    assert report.timing_met is True
    assert hashlib.sha256(built.artifacts.bitstream).hexdigest() == report.bitstream_digest
    assert report.build_id == int(report.build_key[:8], 16)
    assert b"Part: LFE5U-25F-6CABGA381" in built.artifacts.bitstream[:200]


async def test_multiplications_beyond_the_devices_multipliers_are_made_of_logic(room: Room, recorder: Recorder) -> None:
    body = """
    wire [16*31-1:0] p;
    genvar i;
    generate for (i = 0; i < 31; i = i + 1) begin : g
        reg [7:0] a, b;
        always @(posedge clk) if (wb_we) begin a <= wb_dat_w[7:0] + i; b <= wb_dat_w[15:8] ^ a; end
        assign p[16*i +: 16] = a * b;
    end endgenerate
    assign wb_dat_r = ^p; assign wb_ack = wb_cyc & wb_stb;"""
    request = BuildRequest("design.v", verilog("m", body).encode(), Options(PROFILE))
    found = await room.builder.measure(request, recorder, route=False)
    assert found.cells["MULT18X18D"] == 28
    said = "the design has 31 multipliers, the device 28: 3 are made of logic, which is slower"
    assert said in found.warnings


async def test_a_build_repeats_bit_for_bit_and_only_once(build: Build, settings: Settings, tmp_path: Path) -> None:
    source = (EXAMPLES / "counter" / "design.v").read_bytes()
    elsewhere = building(await make_room(settings.model_copy(update={"cache_dir": tmp_path})), Recorder())
    first = await build("design.v", source)
    # Two at once: the second one waits for the first and takes what it made.
    recorders = Recorder(), Recorder()
    here = await make_room(settings.model_copy(update={"cache_dir": tmp_path}))
    pair = await asyncio.gather(*(building(here, recorder)("design.v", source) for recorder in recorders))
    assert sorted(built.cached for built in pair) == [False, True]
    assert recorders[0].stages == recorders[1].stages == STAGES
    assert recorders[0].lines == recorders[1].lines
    assert {built.artifacts.bitstream for built in (first, *pair)} == {first.artifacts.bitstream}
    assert (await elsewhere("design.v", source)).cached


async def test_an_input_already_built_runs_no_tool(build: Build, settings: Settings) -> None:
    source = (EXAMPLES / "counter" / "design.v").read_bytes()
    first = await build("design.v", source)
    useless = building(await make_room(settings.model_copy(update={"elaborate_wall_s": 1e-9})), Recorder())
    again = await useless("design.v", source)
    assert again.cached
    assert again.artifacts == first.artifacts
    with pytest.raises(BuildFailure, match="time_limit"):
        await useless("design.v", source + b"\n")


async def test_a_verilog_project_with_every_option(build: Build) -> None:
    body = "wire [31:0] v; rom r(clk, wb_adr[1:0], v); assign wb_dat_r = v ^ `MASK; assign wb_ack = wb_stb;"
    files = {
        "design.v": ('`include "values.vh"\n' + verilog("top", body) + verilog("other")).encode(),
        "rtl/rom.v": (
            b"module rom(input clk, input [1:0] a, output reg [31:0] q);\nreg [31:0] m[0:3];\n"
            b'initial $readmemh("data/rom.hex", m);\nalways @(posedge clk) q <= m[a];\nendmodule\n'
        ),
        "include/values.vh": b"`define MASK 32'h00000001\n",
        "data/rom.hex": b"00000010\n00000020\n00000030\n00000040\n",
    }
    data = make_zip(files, {"version": 1, "entrypoint": "design.v", "verilog_sources": ["rtl/rom.v"]})
    built = await build("project.zip", data, top="top", sys_clk_hz=75_000_000, timing_target_mhz=900.0)
    report = built.artifacts.report
    assert report.target == "top"
    assert (report.clk_hz, report.sys_clk_mhz, report.baud) == (75_000_000, 75.0, 18_750_000)
    assert report.synth_cells["EHXPLLL"] == 1
    # A timing miss is graded; it does not fail the build.
    assert (report.target_mhz, report.timing_met) == (900.0, False)
    assert any("FAIL at 900" in warning for warning in report.warnings)


async def test_an_amaranth_project_uses_its_siblings_and_its_verilog(build: Build) -> None:
    design = amaranth(body='m.submodules.inv = Instance("inv", i_a=self.wb_dat_w, o_b=self.wb_dat_r)')
    files = {
        "src/design.py": b"import parts\nfrom base import Design\n\nclass Mine(Design):\n    id = parts.ID\n",
        "src/parts.py": b"ID = 7\n",
        "base.py": design.encode(),
        "rtl/inv.v": b"module inv(input [31:0] a, output [31:0] b);\nassign b = ~a;\nendmodule\n",
    }
    manifest = {"version": 1, "entrypoint": "src/design.py", "verilog_sources": ["rtl/inv.v"]}
    built = await build("project.zip", make_zip(files, manifest))
    assert built.artifacts.report.target == "Mine"


async def test_the_base_design_builds(room: Room, recorder: Recorder) -> None:
    built = await room.builder.build_base(PROFILE, recorder)
    assert built.artifacts.report.target == "BaseTarget"
    assert (await room.builder.build_base(PROFILE, recorder)).cached


async def test_cancelling_a_build_leaves_nothing(build: Build, recorder: Recorder) -> None:
    task = asyncio.ensure_future(build("design.py", "import time\nprint('up', flush=True)\ntime.sleep(60)\n"))
    async with asyncio.timeout(20):
        while not recorder.lines:  # noqa: ASYNC110 - a LogSink has no event to wait for
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Nothing of it is left among this process's descendants (nats-server and the like may be).
    left = [pid for pid in family(os.getpid()) if b"lutlab_builder/inside" in _command_line(pid)]
    assert left == []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_command_line_builds_and_explains(settings: Settings, tmp_path: Path) -> None:
    environment = {"LUTLAB_CACHE_DIR": str(settings.cache_dir), "LUTLAB_BUILDER_TOOLS_DIR": str(settings.tools_dir)}
    command = [sys.executable, "-m", "lutlab_builder", "build", "--out", str(tmp_path / "out")]
    good = subprocess.run(
        [*command, str(EXAMPLES / "counter" / "design.v")], env=environment, capture_output=True, text=True, check=False
    )
    assert good.returncode == 0, good.stderr
    report = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes(), type=BuildReport)
    assert report.bitstream_bytes == (tmp_path / "out" / "design.bit").stat().st_size
    assert "place-and-route: Info: " in (tmp_path / "out" / "build.log").read_text()
    bad_file = tmp_path / "design.py"
    bad_file.write_text("x = = 1\n")
    bad = subprocess.run([*command, str(bad_file)], env=environment, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert bad.stderr.endswith("error in elaborate: syntax_error: design.py:1: invalid syntax\n")
