"""What goes wrong is told clearly, and leaves every board free: through the whole product."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from e2e_support import ROOT, Stack, reserve, submit, wait_job

ECHO = ROOT / "examples/echo_memory/design.py"

HEADER = """
from amaranth.hdl import *

class Design(Elaboratable):
    def __init__(self):
        self.wb_cyc = Signal(); self.wb_stb = Signal(); self.wb_we = Signal(); self.wb_adr = Signal(9)
        self.wb_dat_w = Signal(32); self.wb_sel = Signal(4); self.wb_dat_r = Signal(32); self.wb_ack = Signal()
    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.wb_ack.eq(self.wb_cyc & self.wb_stb)
        m.d.sync += self.wb_dat_r.eq(self.wb_adr)
        {extra}
        return m
"""

VERILOG = """
module {name}(input clk, input rst, input wb_cyc, input wb_stb, input wb_we, input [8:0] wb_adr, input [31:0] wb_dat_w,
  input [3:0] wb_sel, output [31:0] wb_dat_r, output wb_ack);
  assign wb_ack = wb_cyc & wb_stb;
  assign wb_dat_r = {expr};
endmodule
"""

HUGE = HEADER.format(
    extra="\n        ".join(
        [
            "from amaranth.lib.memory import Memory",
            "m.submodules.store = store = Memory(shape=32, depth=65_536, init=[])",
            "write, read, place = store.write_port(), store.read_port(), Signal(16)",
            "m.d.sync += place.eq(place + 1)",
            "m.d.comb += [write.addr.eq(place), write.data.eq(self.wb_dat_w), write.en.eq(self.wb_we)]",
            "m.d.comb += read.addr.eq(place ^ self.wb_adr)",
            "m.d.sync += self.wb_dat_r.eq(read.data)",
        ]
    )
)
"""2 Mbit of memory; the device has 56 blocks of 18 kbit."""

BAD_DESIGNS = {
    "python syntax error": ("design.py", b"class X(:\n    pass\n", ["design.py:1", "invalid syntax"]),
    "verilog syntax error": ("design.v", b"module x(input clk;\nendmodule\n", ["design.v:1"]),
    "no python contract": ("design.py", b"from amaranth.hdl import *\nclass X(Elaboratable):\n  pass\n", ["wb_cyc"]),
    "no verilog contract": ("design.v", b"module x(input a, output b); assign b = a; endmodule\n", ["wb_"]),
    "two classes": ("design.py", (HEADER.format(extra="") + "class Other(Design): pass\n").encode(), ["top", "Other"]),
    "two modules": (
        "design.v",
        (VERILOG.format(name="one", expr="1") + VERILOG.format(name="two", expr="2")).encode(),
        ["top", "one", "two"],
    ),
    "reads outside": ("design.py", b"import os\nprint(open('/etc/shadow').read())\n", ["/etc/shadow"]),
    "reads secrets": ("design.py", b"import os\nraise SystemExit(str(dict(os.environ)))\n", []),
    "opens a socket": (
        "design.py",
        b"import socket\nsocket.create_connection(('127.0.0.1', 4222), 2)\n",
        ["design.py:2"],
    ),
    "endless loop": ("design.py", b"while True: pass\n", ["time"]),
    "fork bomb": ("design.py", b"import os\nwhile True:\n    os.fork()\n", []),
    "two gigabytes": ("design.py", b"x = bytearray(2 << 30)\n", ["emory"]),
    "does not fit": ("design.py", HUGE.encode(), ["fit", "56"]),
    "include of a system file": ("design.v", b'`include "/etc/passwd"\n', ["/etc/passwd"]),
}


@pytest.mark.parametrize("case", BAD_DESIGNS)
def test_a_bad_design_fails_with_its_reason(stack: Stack, api: httpx.Client, case: str) -> None:
    name, source, words = BAD_DESIGNS[case]
    job = wait_job(api, submit(api, (name, source)))
    assert job["status"] == "failed", job
    error = job["error"]
    log = api.get(f"/jobs/{job['job_id']}/logs").text
    for word in words:
        assert word in error["message"], error
    assert error["message"].splitlines()[0] in log or error["message"] in log
    assert stack.ready["api_key"] not in log + error["message"]
    assert "root:" not in log
    assert {b["state"] for b in api.get("/fpga").json()} == {"idle"}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


MANIFEST = b'{"version": 1, "entrypoint": "design.v", "verilog_sources": []}'
GOOD_V = VERILOG.format(name="one", expr="32'd7").encode()
BAD_UPLOADS = {
    "empty": ("design.py", b"", "empty"),
    "suffix": ("design.txt", b"x", ".txt"),
    "not a zip": ("project.zip", b"PK is not enough", "zip"),
}


@pytest.mark.parametrize("case", BAD_UPLOADS)
def test_a_bad_upload_is_refused_at_once(api: httpx.Client, case: str) -> None:
    name, data, word = BAD_UPLOADS[case]
    answer = api.post("/submit", files={"file": (name, data)})
    assert answer.status_code == 422
    assert word in answer.json()["detail"]["message"]


def test_no_file(api: httpx.Client) -> None:
    answer = api.post("/submit", data={"top": "x"})
    assert answer.status_code == 422
    assert "file" in answer.json()["detail"]["message"]


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"mrg-project.json": MANIFEST, "design.v": GOOD_V, "bomb.hex": b"0" * (64 << 20)}, "16"),
        ({"mrg-project.json": MANIFEST, "design.v": GOOD_V, "../evil.v": b"x"}, "../evil.v"),
        ({"design.v": GOOD_V}, "mrg-project.json"),
    ],
    ids=["bomb", "dotdot", "no manifest"],
)
def test_a_bad_bundle_is_refused(api: httpx.Client, files: dict[str, bytes], word: str) -> None:
    """At once by the API, or by the builder's closer look; never silently."""
    answer = api.post("/submit", files={"file": ("project.zip", zipped(files))})
    if answer.status_code == 422:
        assert word in answer.json()["detail"]["message"]
        return
    job = wait_job(api, answer.json()["job_id"])
    assert job["status"] == "failed"
    assert word in job["error"]["message"]


@pytest.mark.parametrize(("hz", "ok"), [("9999999", False), ("200000001", False), ("fast", False)])
def test_clock_out_of_range(api: httpx.Client, hz: str, ok: bool) -> None:
    answer = api.post("/submit", files={"file": ("design.py", ECHO.read_bytes())}, data={"sys_clk_freq": hz})
    assert answer.status_code == 422
    assert hz in answer.json()["detail"]["message"]


BAD_RUNS = {
    "op 3": {"op": 3, "address": 0, "data": [1]},
    "unaligned": {"op": 1, "address": 2, "data": [1]},
    "out of range": {"op": 1, "address": 2048, "data": [1]},
    "past the end": {"op": 2, "address": 2044, "data": [], "count": 2},
    "no words": {"op": 1, "address": 0, "data": []},
    "zero count": {"op": 2, "address": 0, "data": [], "count": 0},
    "too many words": {"op": 2, "address": 0, "data": [], "count": 513},
    "word too wide": {"op": 1, "address": 0, "data": [1 << 32]},
    "negative word": {"op": 1, "address": 0, "data": [-1]},
}


def test_bad_transactions_and_strangers(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    for case, body in BAD_RUNS.items():
        answer = api.post(f"/fpga/{board}/run", json=body)
        assert answer.status_code == 422, (case, answer.text)
        assert answer.json()["detail"]["message"], case
    with stack.member("stranger") as stranger:
        good = {"op": 1, "address": 0, "data": [1]}
        assert stranger.post(f"/fpga/{board}/run", json=good).status_code == 403
        assert stranger.post(f"/fpga/{board}/session/release").status_code == 403
        assert stranger.post(f"/fpga/{board}/reset").status_code == 403
        assert stranger.get("/jobs").json() == []
    with stack.client("not-a-key") as wrong:
        assert wrong.get("/fpga").status_code == 401
    with stack.client(None) as anonymous:
        assert anonymous.get("/fpga").status_code == 200
        assert anonymous.post(f"/fpga/{board}/run", json=good).status_code == 401
    assert api.post(f"/fpga/{board}/submit", files={"file": ("design.py", b"x")}).status_code == 409


def test_what_does_not_exist(api: httpx.Client) -> None:
    assert api.get(f"/jobs/{UUID(int=1)}").json()["detail"]["error"] == "job_not_found"
    assert api.get("/jobs/nonsense").status_code == 404
    assert api.get("/fpga/99").status_code in {404, 422}
    assert api.post("/fpga/0/run", json={"op": 1, "address": 0, "data": [1]}).status_code == 409
    assert api.get("/fpga/0/session").json()["detail"]["error"] == "no_active_session"


def test_a_good_bundle_runs(api: httpx.Client, tmp_path: Path) -> None:
    bundle = tmp_path / "project.zip"
    bundle.write_bytes(
        zipped(
            {
                "mrg-project.json": b'{"version": 1, "entrypoint": "design.v", "verilog_sources": []}',
                "design.v": b'`include "seven.vh"\n' + VERILOG.format(name="one", expr="`SEVEN").encode(),
                "include/seven.vh": b"`define SEVEN 32'd7\n",
            }
        )
    )
    board = reserve(api, bundle)
    run = api.post(f"/fpga/{board}/run", json={"op": 2, "address": 0, "data": []}).json()
    assert api.get(f"/jobs/{run['job_id']}/result").json() == {"ok": True, "data": [7]}
