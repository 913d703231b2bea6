"""Submitting, cancelling, resetting, releasing."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from api_fakes import BOB, ROOT, SESSION, Lab, board, error_of, job, reserved

from lutlab_api.domain.errors import Invalid
from lutlab_api.domain.upload import check_file
from lutlab_events.commands import CancelJob, ReleaseSession, ResetBoard, SubmitBuild
from lutlab_events.designs import SOURCE_BYTES_MAX
from lutlab_events.ids import digest
from lutlab_events.rejections import Rejection

SOURCE = b"from amaranth.hdl import *\n"
FORM = "multipart/form-data; boundary=x"
FILE = {"file": ("design.py", SOURCE)}
MANIFEST = b'{"version": 1, "entrypoint": "design.v", "verilog_sources": []}'


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def nameless(data: bytes) -> bytes:
    """The same zip, whose last entry's name, of four letters, has become an empty extra field."""
    found = bytearray(data)
    at = data.rfind(b"PK\x01\x02")
    found[at + 28 : at + 32] = struct.pack("<HH", 0, 4)
    found[at + 46 : at + 50] = struct.pack("<HH", 0x9999, 0)
    return bytes(found)


GOOD_ZIP = zipped({"mrg-project.json": MANIFEST, "design.v": b"module x; endmodule", "inc/a.vh": b"x"})


async def test_new_submit(lab: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.post(
        "/submit", files=FILE, data={"top": "Top", "sys_clk_freq": "90000000", "timing_target_mhz": "95.5"}
    )
    assert answer.status_code == 202
    sent = lab.commands.sent[-1]
    assert isinstance(sent.body, SubmitBuild)
    assert answer.json() == {"job_id": str(sent.body.job_id), "fpga_id": None, "status": "queued"}
    assert lab.ledger.blobs == {digest(SOURCE): SOURCE}
    body = sent.body
    assert (body.owner, body.source_digest, body.filename) == ("ada", digest(SOURCE), "design.py")
    assert (body.top, body.sys_clk_hz, body.timing_target_mhz, body.fpga_id, body.profile) == (
        "Top",
        90_000_000,
        95.5,
        None,
        None,
    )
    assert sent.actor == "ada"


@pytest.mark.parametrize("name", ["design.v", "design.sv", "DESIGN.SV"])
async def test_verilog_of_either_name(lab: Lab, ada: httpx.AsyncClient, name: str) -> None:
    answer = await ada.post("/submit", files={"file": (name, b"module design; endmodule")})
    assert answer.status_code == 202
    assert lab.commands.sent[-1].body.filename == name


async def test_old_submit(lab: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/fpga/3/submit", files={"file": ("design.v", b"module x;")}, headers={"X-Session-ID": "x"})
    assert answer.status_code == 202
    assert answer.json() == {"job_id": str(lab.last(SubmitBuild).job_id), "fpga_id": 3, "status": "queued"}
    assert lab.last(SubmitBuild).fpga_id == 3
    lab.commands.rejections[SubmitBuild] = Rejection.FPGA_NOT_IDLE
    assert error_of(await ada.post("/fpga/3/submit", files=FILE))[:2] == (409, "fpga_not_idle")


async def test_left_out_and_empty_fields_mean_none(lab: Lab, ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/submit", files=FILE, data={"top": "", "sys_clk_freq": "", "timing_target_mhz": " "})
    assert answer.status_code == 202
    body = lab.last(SubmitBuild)
    assert (body.top, body.sys_clk_hz, body.timing_target_mhz) == (None, None, None)


@pytest.mark.parametrize("hz", ["1e7", "200000000", "50000000.0"])
async def test_clocks_at_the_edges(lab: Lab, ada: httpx.AsyncClient, hz: str) -> None:
    assert (await ada.post("/submit", files=FILE, data={"sys_clk_freq": hz})).status_code == 202
    assert lab.last(SubmitBuild).sys_clk_hz == int(float(hz))


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("sys_clk_freq", "9999999", "invalid_sys_clk_freq"),
        ("sys_clk_freq", "200000001", "invalid_sys_clk_freq"),
        ("sys_clk_freq", "fast", "invalid_sys_clk_freq"),
        ("sys_clk_freq", "nan", "invalid_sys_clk_freq"),
        ("sys_clk_freq", "-50000000", "invalid_sys_clk_freq"),
        ("timing_target_mhz", "0", "invalid_timing_target"),
        ("timing_target_mhz", "-1", "invalid_timing_target"),
        ("timing_target_mhz", "inf", "invalid_timing_target"),
        ("timing_target_mhz", "quick", "invalid_timing_target"),
        ("top", "1x", "invalid_top"),
        ("top", "a b", "invalid_top"),
        ("top", "x;rm", "invalid_top"),
        ("profile", "../x", "invalid_profile"),
    ],
)
async def test_bad_options(lab: Lab, ada: httpx.AsyncClient, field: str, value: str, code: str) -> None:
    for route in ("/submit", "/fpga/0/submit"):
        status, got, message = error_of(await ada.post(route, files=FILE, data={field: value}))
        assert (status, got) == (422, code)
        assert value in message
    assert lab.commands.sent == []
    assert lab.ledger.blobs == {}


@pytest.mark.parametrize(
    ("name", "data", "status", "code", "word"),
    [
        ("design.py", b"", 422, "empty_file", "design.py"),
        ("design.txt", b"x", 422, "unsupported_suffix", "design.txt"),
        ("design", b"x", 422, "unsupported_suffix", "design"),
        ("a/b\\design.vhd", b"x", 422, "unsupported_suffix", "design.vhd"),
        ("x" * 300 + ".py", b"x", 422, "validation_error", "303"),
        ("design.py", b"x" * 5000, 413, "file_too_large", "5000"),
        ("project.zip", b"PK is not enough", 422, "bad_zip", "not a zip"),
        ("project.zip", b"PK\x05\x06", 422, "bad_zip", "not a zip"),
        ("project.zip", GOOD_ZIP[:-30], 422, "bad_zip", "not a zip"),
        ("project.zip", zipped({"design.v": b"x"}), 422, "bad_zip", "mrg-project.json"),
        ("project.zip", nameless(zipped({"mrg-project.json": b"{}", "none": b"x"})), 422, "bad_zip", "not a readable"),
        ("project.zip", zipped({"mrg-project.json": b"{}", "../evil.v": b"x"}), 422, "bad_zip", "../evil.v"),
        ("project.zip", zipped({"mrg-project.json": b"{}", "/evil.v": b"x"}), 422, "bad_zip", "/evil.v"),
        ("project.zip", zipped({"mrg-project.json": b"{}", "a b.v": b"x"}), 422, "bad_zip", "a b.v"),
    ],
)
async def test_bad_files(name: str, data: bytes, status: int, code: str, word: str) -> None:
    lab = Lab(upload_bytes_max=4096)
    async with lab.client() as ada:
        answer = await ada.post("/submit", files={"file": (name, data)})
    assert error_of(answer)[:2] == (status, code)
    assert word in error_of(answer)[2]
    assert lab.commands.sent == []


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({f"f{n}.v": b"" for n in range(129)}, "129 files"),
        ({"mrg-project.json": b"{}", "bomb.hex": bytes(17 << 20)}, "16 MiB"),
        ({f"{'n' * 180}{n}.v": b"" for n in range(1000)}, "more files"),
    ],
    ids=["too many", "bomb", "endless directory"],
)
def test_zips_that_are_too_much(files: dict[str, bytes], word: str) -> None:
    with pytest.raises(Invalid, match=word):
        check_file("project.zip", zipped(files), 16 << 20)


def test_a_source_is_no_larger_than_a_builder_takes() -> None:
    check_file("design.v", b"/" * SOURCE_BYTES_MAX, 16 << 20)
    with pytest.raises(Invalid) as refused:
        check_file("design.v", b"/" * (SOURCE_BYTES_MAX + 1), 16 << 20)
    assert refused.value.code == "file_too_large" and str(SOURCE_BYTES_MAX) in refused.value.message


@pytest.mark.parametrize("name", ["a\x01b.py", "a\x00.py", "a\udc80.py", "a\nb.py"])
def test_names_that_cannot_be_shown(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be printed"):
        check_file(name, b"x", 100)


def test_zips_that_lie_about_their_end() -> None:
    at = GOOD_ZIP.rfind(b"PK\x05\x06")
    beyond = bytearray(GOOD_ZIP)
    struct.pack_into("<L", beyond, at + 12, 0xFFFF)  # the directory is larger than the file
    zip64 = GOOD_ZIP[:at] + b"PK\x06\x07" + bytes(16) + GOOD_ZIP[at:]
    for data in (bytes(beyond), zip64, GOOD_ZIP[:at] + GOOD_ZIP[at : at + 21]):
        with pytest.raises(Invalid) as refused:
            check_file("project.zip", data, 16 << 20)
        assert refused.value.code == "bad_zip"
    assert check_file("C:\\fakepath\\Project.ZIP", GOOD_ZIP, 16 << 20) == "Project.ZIP"


@pytest.mark.parametrize(
    ("kwargs", "status", "code"),
    [
        ({"data": {"top": "x"}}, 422, "missing_file"),
        ({"json": {"file": "x"}}, 422, "missing_file"),
        ({"content": b""}, 422, "missing_file"),
        ({"files": {"design": ("design.py", b"x")}}, 422, "missing_file"),
        ({"files": {"file": (None, b"x")}}, 422, "missing_file"),
        ({"files": [("file", ("a.py", b"x")), ("file", ("b.py", b"x"))]}, 400, "malformed_body"),
        ({"files": {"file": ("a.py", b"x")}, "data": {"top": "x" * 5000}}, 400, "malformed_body"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "malformed_body"),
        ({"content": b"--x\r\nnonsense", "headers": {"Content-Type": FORM}}, 422, "missing_file"),
    ],
)
async def test_bodies_without_a_file(ada: httpx.AsyncClient, kwargs: dict[str, object], status: int, code: str) -> None:
    assert error_of(await ada.post("/submit", **kwargs))[:2] == (status, code)  # type: ignore[arg-type]


async def test_an_upload_is_not_read_beyond_its_limit(ada: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="design.py"\r\n\r\n'
        while sent < 64 << 20:
            sent += 1 << 16
            yield b"#" * (1 << 16)

    headers = {"Content-Type": FORM}
    answer = await ada.post("/submit", content=endless(), headers=headers)
    assert error_of(answer)[:2] == (413, "body_too_large")
    assert sent <= 17 << 20


async def test_nothing_is_read_of_a_strangers_upload(lab: Lab) -> None:
    sent = 0

    async def watched() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"x"

    async with lab.client("nope") as client:
        answer = await client.post("/submit", content=watched(), headers={"Content-Type": FORM})
    assert error_of(answer)[:2] == (401, "invalid_api_key")
    assert sent == 0


async def test_idempotency_key_makes_one_job(lab: Lab, ada: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "abc"}
    first = await ada.post("/submit", files=FILE, headers=key)
    again = await ada.post("/submit", files=FILE, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert len(lab.commands.sent) == 1
    other = await ada.post("/submit", files={"file": ("design.py", b"# other")}, headers=key)
    assert error_of(other)[:2] == (409, "idempotency_mismatch")
    elsewhere = await ada.post("/fpga/0/reset", headers=key)
    assert error_of(elsewhere)[:2] == (409, "idempotency_mismatch")
    async with lab.client(BOB) as bob:
        assert (await bob.post("/submit", files=FILE, headers=key)).json()["job_id"] != first.json()["job_id"]
    assert (await ada.post("/submit", files=FILE)).json()["job_id"] != first.json()["job_id"]
    for bad in ("", "a b", "x" * 201):
        answer = await ada.post("/submit", files=FILE, headers={"Idempotency-Key": bad})
        assert error_of(answer)[:2] == (422, "invalid_idempotency_key"), bad


async def test_an_unanswered_submit_can_be_repeated(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.swallow = 1
    key = {"Idempotency-Key": "abc"}
    answer = await ada.post("/submit", files=FILE, headers=key)
    assert error_of(answer)[:2] == (503, "scheduler_unavailable")
    assert "Retry-After" in answer.headers
    assert (await ada.post("/submit", files=FILE, headers=key)).status_code == 202
    assert len({sent.body.job_id for sent in lab.commands.sent if isinstance(sent.body, SubmitBuild)}) == 1


async def test_queue_full_is_503(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.rejections[SubmitBuild] = Rejection.QUEUE_FULL
    answer = await ada.post("/submit", files=FILE)
    assert error_of(answer)[:2] == (503, "queue_full")
    assert "Retry-After" in answer.headers


async def test_cancel(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(job(1, pinned_fpga_id=3))
    assert (await ada.delete(f"/jobs/{UUID(int=1)}")).status_code == 204
    assert lab.last(CancelJob) == CancelJob(job_id=UUID(int=1), owner="ada")
    assert (await ada.delete(f"/fpga/3/jobs/{UUID(int=1)}")).status_code == 204
    assert lab.last(CancelJob) == CancelJob(job_id=UUID(int=1), owner="ada", fpga_id=3)
    assert error_of(await ada.delete(f"/fpga/4/jobs/{UUID(int=1)}"))[:2] == (404, "job_not_found")
    assert error_of(await ada.delete("/jobs/nonsense"))[:2] == (404, "job_not_found")
    for rejection, status in {
        Rejection.JOB_NOT_CANCELLABLE: 409,
        Rejection.NOT_YOUR_JOB: 403,
        Rejection.JOB_NOT_FOUND: 404,
    }.items():
        lab.commands.rejections[CancelJob] = rejection
        assert error_of(await ada.delete(f"/jobs/{UUID(int=1)}"))[:2] == (status, rejection)
    async with lab.client(ROOT) as root:
        await root.delete(f"/jobs/{UUID(int=1)}")
    assert lab.last(CancelJob).is_admin


@pytest.mark.parametrize(("path", "kind"), [("reset", ResetBoard), ("session/release", ReleaseSession)])
async def test_reset_and_release(lab: Lab, ada: httpx.AsyncClient, path: str, kind: type) -> None:
    lab.ledger.add(board(2))
    answer = await ada.post(f"/fpga/2/{path}")
    assert answer.status_code == 202
    body = lab.last(kind)
    assert answer.json() == {"job_id": str(body.job_id), "fpga_id": 2, "status": "queued"}
    assert body.session_id == UUID(int=0)  # none is on it, so none that begins later is meant
    lab.ledger.add(reserved(2))
    await ada.post(f"/fpga/2/{path}")
    assert lab.last(kind).session_id == SESSION
    assert (body.owner, body.fpga_id, body.is_admin) == ("ada", 2, False)
    async with lab.client(ROOT) as root:
        await root.post(f"/fpga/2/{path}")
    assert lab.last(kind).is_admin
    assert error_of(await ada.post(f"/fpga/-1/{path}"))[:2] == (422, "validation_error")
    for rejection, status in {
        Rejection.NO_ACTIVE_SESSION: 404,
        Rejection.FPGA_NOT_RESETTABLE: 409,
        Rejection.NOT_YOUR_SESSION: 403,
        Rejection.FPGA_NOT_FOUND: 404,
    }.items():
        lab.commands.rejections[kind] = rejection
        assert error_of(await ada.post(f"/fpga/2/{path}"))[:2] == (status, rejection)
