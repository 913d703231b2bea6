"""What a user is told about a design that cannot be built, and that it harms nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builder_support import PORTS, Build, Recorder, amaranth, make_zip, verilog

from lutlab_builder.domain.errors import BuildFailure, Code


async def failure(build: Build, filename: str, source: str | bytes, **options: object) -> BuildFailure:
    with pytest.raises(BuildFailure) as caught:
        await build(filename, source, **options)
    return caught.value


async def test_python_syntax_error_has_file_and_line(build: Build) -> None:
    found = await failure(build, "design.py", "x = 1\ndef f(:\n")
    assert (found.code, found.stage) == (Code.SYNTAX_ERROR, "elaborate")
    assert found.message.startswith("design.py:2: ")


async def test_syntax_error_of_a_sibling_names_the_sibling(build: Build) -> None:
    files = {"src/design.py": b"import helper\n", "src/helper.py": b"\n\nx = = 1\n"}
    data = make_zip(files, {"version": 1, "entrypoint": "src/design.py"})
    found = await failure(build, "project.zip", data)
    assert found.message.startswith("src/helper.py:3: ")


async def test_verilog_syntax_error_has_file_and_line(build: Build) -> None:
    found = await failure(build, "design.v", verilog("m", "\nassign wb_ack = ;"))
    assert (found.code, found.stage) == (Code.SYNTAX_ERROR, "elaborate")
    assert found.message.startswith("design.v:4: syntax error")


async def test_an_undeclared_name_in_verilog(build: Build) -> None:
    found = await failure(build, "design.v", verilog("m", "`default_nettype none\nassign wb_ack = nowhere;"))
    assert found.code is Code.VERILOG_ERROR
    assert "design.v:4" in found.message
    assert "nowhere" in found.message


async def test_a_missing_module_is_found_in_synthesis(build: Build) -> None:
    found = await failure(build, "design.v", verilog("m", "gone u(.a(clk)); assign wb_ack = 0; assign wb_dat_r = 0;"))
    assert (found.code, found.stage) == (Code.SYNTHESIS_FAILED, "synthesize")
    assert "gone" in found.message


async def test_files_without_a_design(build: Build) -> None:
    python = await failure(build, "design.py", "x = 1\n")
    source = await failure(build, "design.v", "module helper(input a, output b); assign b = a; endmodule")
    assert python.code is source.code is Code.NO_TARGET
    assert "helper" in source.message


async def test_two_designs_need_a_top(build: Build) -> None:
    python = await failure(build, "design.py", amaranth("One") + amaranth("Two"))
    source = await failure(build, "design.v", verilog("one") + verilog("two"))
    for found, names in ((python, ("One", "Two")), (source, ("one", "two"))):
        assert found.code is Code.AMBIGUOUS_TARGET
        assert all(name in found.message for name in names)


async def test_a_top_that_is_not_there(build: Build) -> None:
    assert (await failure(build, "design.py", amaranth(), top="Gone")).code is Code.UNKNOWN_TOP
    assert (await failure(build, "design.v", verilog("m"), top="gone")).code is Code.UNKNOWN_TOP


async def test_wrong_widths_are_named(build: Build) -> None:
    python = await failure(build, "design.py", amaranth(bits=25))
    source = await failure(build, "design.v", verilog("m", ports=PORTS.replace("[3:0] wb_sel", "[1:0] wb_sel")))
    assert python.code is source.code is Code.WRONG_PORTS
    assert "wb_adr is 25 bits" in python.message
    assert "wb_sel has 2 bits" in source.message


async def test_an_error_in_elaborate_names_the_users_line(build: Build) -> None:
    found = await failure(build, "design.py", amaranth(body="m.d.comb += self.gone.eq(1)"))
    assert found.code is Code.DESIGN_RAISED
    assert found.message.startswith("design.py:11: AttributeError: ")


@pytest.mark.parametrize("path", ["/etc/passwd", "/root/.ssh/id_ed25519", str(Path(__file__))])
async def test_files_of_the_host_are_not_there(build: Build, path: str) -> None:
    found = await failure(build, "design.py", f"import os\n\nprint(open({path!r}).read())\n")
    assert found.code is Code.DESIGN_RAISED
    assert found.message.startswith("design.py:3: FileNotFoundError: ")
    assert path in found.message


async def test_the_network_is_not_there(build: Build) -> None:
    source = "import socket\ns = socket.socket()\ns.settimeout(2)\ns.connect(('1.1.1.1', 53))\n"
    found = await failure(build, "design.py", source)
    assert found.code is Code.DESIGN_RAISED
    assert found.message.startswith("design.py:4: OSError: [Errno 101]")


async def test_the_hosts_own_services_are_not_there(build: Build) -> None:
    """Loopback and the host's other processes are out of reach as well."""
    source = f"""
import os, socket
found = []
with socket.socket() as s:
    found.append(s.connect_ex(('127.0.0.1', 22)))
try:
    os.kill({os.getpid()}, 0)
    found.append('host process')
except ProcessLookupError:
    pass
raise SystemExit(f'{{found}} {{os.getuid()}} {{sorted(os.environ)}} {{os.listdir("/")}}')
"""
    found = await failure(build, "design.py", source)
    assert found.message.startswith("design.py:11: SystemExit: [111] ")
    assert "SECRET" not in found.message
    assert "'home'" not in found.message
    assert "'work'" not in found.message
    variables = found.message.split("[", 3)[2]
    assert set(variables.split("]")[0].replace("'", "").split(", ")) <= {
        "HOME", "LANG", "PATH", "PWD", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONUTF8", "TMPDIR", "YOWASP_CACHE_DIR",
    }  # fmt: skip


@pytest.mark.parametrize(
    "place", ["/design/x", "/x", "/dev/x", "/lutlab/x", "/usr/lib/x", "/in/x", "/out/x", "/lutlab/site0/x", "/proc/x"]
)
async def test_nothing_can_be_written_but_tmp(build: Build, place: str) -> None:
    found = await failure(build, "design.py", f"open({place!r}, 'w')\n")
    assert found.code is Code.DESIGN_RAISED
    assert "Error: [Errno" in found.message


async def test_privileges_are_gone(build: Build) -> None:
    source = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
held = [status[k] for k in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')]
mounted = libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)
try:
    os.setuid(0)
    became = os.getuid()
except OSError:
    became = 'refused'
raise SystemExit(f'{set(held)} {status["NoNewPrivs"]} {mounted} {became}')
"""
    found = await failure(build, "design.py", source)
    assert found.message.endswith("SystemExit: {'0000000000000000'} 1 -1 refused")


async def test_ways_into_the_kernel_are_closed(build: Build) -> None:
    source = """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
found = []
for namespace in (0x10000000, 0x40000000):
    found.append((libc.unshare(namespace), ctypes.get_errno()))
for family in (socket.AF_VSOCK, socket.AF_NETLINK):
    try:
        socket.socket(family)
        found.append('open')
    except OSError as error:
        found.append(error.errno)
raise SystemExit(found)
"""
    found = await failure(build, "design.py", source)
    assert found.message.endswith("SystemExit: [(-1, 1), (-1, 1), 97, 97]")


async def test_pins_of_the_board_are_out_of_reach(build: Build) -> None:
    cell = '(* keep *) TRELLIS_IO #(.DIR("OUTPUT")) io(.B(), .I(wb_dat_w[0]), .T(1\'b0), .O());'
    found = await failure(build, "design.v", verilog("m", f"assign wb_dat_r = 0; assign wb_ack = wb_stb; {cell}"))
    assert (found.code, found.stage) == (Code.FORBIDDEN_CELL, "synthesize")
    assert "TRELLIS_IO" in found.message


async def test_the_socs_ports_cannot_be_tampered_with(build: Build) -> None:
    tamper = """
import lutlab_gateware.emit as emit
honest = emit.emit_rtlil
def dishonest(soc, name="top"):
    head, rest = honest(soc, name).split(f"module \\\\{name}\\n", 1)
    return f"{head}module \\\\{name}\\n  wire output 77 \\\\spy\\n  connect \\\\spy 1'1\\n{rest}"
emit.emit_rtlil = dishonest
"""
    found = await failure(build, "design.py", tamper.replace("\\\\", "\\") + amaranth())
    assert (found.code, found.stage) == (Code.SYNTHESIS_FAILED, "synthesize")
    assert "spy" in found.message


async def test_an_endless_loop_is_stopped(hasty_build: Build, recorder: Recorder) -> None:
    found = await failure(hasty_build, "design.py", "print('started', flush=True)\nwhile True:\n    pass\n")
    assert (found.code, found.stage) == (Code.TIME_LIMIT, "elaborate")
    assert "3 s" in found.message
    assert "started" in recorder.text()


@pytest.mark.parametrize(
    "bomb",
    [
        "while True:\n    os.fork()",
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "import subprocess\nwhile True:\n    subprocess.Popen(['/bin/sh', '-c', 'exec 2>&-; while :; do :; done'])",
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(60,)).start()",
    ],
)
async def test_a_fork_bomb_is_contained(build: Build, bomb: str) -> None:
    before = len(list(Path("/proc").glob("[0-9]*")))
    found = await failure(build, "design.py", f"import os\n{bomb}\n")
    assert found.code is Code.PROCESS_LIMIT
    assert len(list(Path("/proc").glob("[0-9]*"))) < before + 20


async def test_two_gigabytes_are_refused(build: Build) -> None:
    found = await failure(build, "design.py", "x = 1\nblock = bytearray(2 << 30)\n")
    assert found.code is Code.MEMORY_LIMIT
    assert found.message.startswith("design.py:2: ")


async def test_memory_of_many_processes_adds_up(build: Build) -> None:
    source = "import os, time\nfor _ in range(7):\n    if not os.fork(): break\nb = b'x' * (400 << 20)\ntime.sleep(60)"
    found = await failure(build, "design.py", source)
    assert found.code is Code.MEMORY_LIMIT


async def test_tmp_is_small(build: Build) -> None:
    source = "for i in range(100):\n    open(f'/tmp/{i}', 'wb').write(bytes(16 << 20))\n"
    found = await failure(build, "design.py", source)
    assert "design.py:2: OSError: [Errno 28]" in found.message


async def test_endless_output_is_cut(build: Build, recorder: Recorder) -> None:
    found = await failure(
        build, "design.py", "for i in range(10**6):\n    print('spam', i)\nraise ValueError('last')\n"
    )
    assert found.message == "design.py:3: ValueError: last"
    assert len(recorder.lines) <= 20_001
    assert "output cut here" in recorder.text()


async def test_a_crash_is_told_from_an_error(build: Build) -> None:
    found = await failure(build, "design.py", "import ctypes\nctypes.string_at(0)\n")
    assert found.code is Code.DESIGN_CRASHED
    assert "SIGSEGV" in found.message


@pytest.mark.parametrize("status", [0, 7])
async def test_a_design_that_ends_the_program(build: Build, status: int) -> None:
    found = await failure(build, "design.py", f"import os\nos._exit({status})\n")
    assert found.code is Code.DESIGN_RAISED
    assert f"status {status}" in found.message


async def test_verilog_cannot_include_the_hosts_files(build: Build) -> None:
    found = await failure(build, "design.v", '`include "/etc/passwd"\n' + verilog("m"))
    assert found.code in {Code.VERILOG_ERROR, Code.SYNTAX_ERROR}
    assert "/etc/passwd" in found.message
    assert "root" not in found.message


async def test_a_zip_bomb_is_refused_before_anything_runs(build: Build, recorder: Recorder) -> None:
    bomb = make_zip({"design.v": b"0" * (64 << 20)}, {"version": 1, "entrypoint": "design.v"})
    found = await failure(build, "project.zip", bomb)
    assert (found.code, found.stage) == (Code.ZIP_EXPANDS_TOO_LARGE, None)
    assert recorder.stages == []


async def test_a_design_that_does_not_fit(build: Build) -> None:
    body = """
    reg [31:0] store [0:65535];
    reg [31:0] q;
    reg [15:0] a;
    always @(posedge clk) begin
        a <= a + wb_dat_w[6:0];
        if (wb_we) store[a] <= wb_dat_w;
        q <= store[a];
    end
    assign wb_dat_r = q; assign wb_ack = wb_cyc & wb_stb;"""
    found = await failure(build, "design.v", verilog("m", body))
    assert (found.code, found.stage) == (Code.DOES_NOT_FIT, "place-and-route")
    assert "the device has 56" in found.message


async def test_an_unknown_profile_lists_the_known(build: Build) -> None:
    found = await failure(build, "design.v", verilog("m"), profile="xc7a35t")
    assert found.code is Code.UNKNOWN_PROFILE
    assert "lfe5u-25f" in found.message
