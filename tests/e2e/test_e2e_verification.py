"""The verification contract from top to bottom, with real tools in the sandbox."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import httpx
import psutil
import pytest
from e2e_support import ROOT, Stack
from websockets.sync.client import connect

JOB_TIMEOUT_S = 240.0
LIMITS = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
BAD_CONFIG = """
project: {name: bad, top_module: top, target_pdk: sky130}
design: {sources: [top.v]}
verification: {simulation: {tool: icarus, testbenches: [tb.v], coverage: false, timeout_seconds: SECONDS}}
"""


@pytest.fixture
def verify(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client() as client:
        client.base_url = f"{client.base_url}/api/v1/"
        yield client


def files_of(example: str) -> dict[str, bytes]:
    folder = ROOT / "examples" / example
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def project_of(verify: httpx.Client, name: str, files: dict[str, bytes], top: str = "top") -> str:
    unique = f"{name}-{time.monotonic_ns()}"
    made = verify.post("projects", json={"name": unique, "top_module": top, "target_pdk": "sky130"})
    assert made.status_code == 201, made.text
    project = str(made.json()["id"])
    put = verify.post(f"projects/{project}/upload", files=[("files[]", item) for item in files.items()])
    assert put.status_code == 200, put.text
    return project


def run(verify: httpx.Client, project: str, *stages: str, **overrides: Any) -> dict[str, Any]:
    sent = verify.post(f"projects/{project}/jobs", json={"stages": stages, "config_overrides": overrides})
    assert sent.status_code == 202, sent.text
    return ended(verify, sent.json()["job_id"])


def ended(verify: httpx.Client, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while True:
        found: dict[str, Any] = verify.get(f"jobs/{job}", headers={"Prefer": "wait=20"}).json()
        if found["status"] not in ("queued", "running"):
            return found
        assert time.monotonic() < deadline, found


def test_the_contract_from_top_to_bottom(stack: Stack, verify: httpx.Client) -> None:
    name = f"uart-{time.monotonic_ns()}"
    new = {"name": name, "top_module": "uart", "target_pdk": "sky130", "description": "a serial port"}
    created = verify.post("projects", json=new)
    assert created.status_code == 201
    assert set(created.headers) >= {header.lower() for header in LIMITS}
    project = created.json()
    assert project | new == project
    assert (project["status"], project["url"]) == ("created", f"/api/v1/projects/{project['id']}")
    again = verify.post("projects", json=new)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    listed = verify.get(
        "projects", params={"page": 1, "per_page": 20, "status": "created", "sort": "updated_at"}
    ).json()
    assert listed["projects"][0]["id"] == project["id"]
    assert {"total", "page", "per_page"} <= set(listed)
    url = f"projects/{project['id']}"
    assert verify.put(url, json={"description": "a UART"}).json()["description"] == "a UART"

    files = files_of("uart")
    uploaded = verify.post(f"{url}/upload", files=[("files[]", item) for item in files.items()]).json()
    assert uploaded == {"uploaded": len(files), "project_id": project["id"], "files": list(files)}

    wrong = verify.post(f"{url}/jobs", json={"stages": ["lint"], "config_overrides": {"verification.simlation": 1}})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["code"] == "VALIDATION_ERROR"
    details = wrong.json()["error"]["details"]
    assert (details["field"], details["suggestion"]) == ("verification.simlation", "verification.simulation")

    overrides = {
        "verification.simulation.coverage": True,
        "verification.crypto_verification.side_channel.num_traces": 50000,
    }
    asked = {"stages": ["lint", "simulation", "crypto"], "config_overrides": overrides}
    accepted = verify.post(f"{url}/jobs", json=asked)
    assert accepted.status_code == 202
    job = accepted.json()
    assert (job["status"], job["stages"], job["project_id"]) == ("queued", asked["stages"], project["id"])
    assert job["estimated_duration"]
    told = stream(stack, job["job_id"])
    assert told[-1]["type"] == "job_complete"
    assert told[-1]["status"] == "passed"
    assert [(t["stage"], t["status"]) for t in told if t["type"] == "stage_complete"] == [
        ("lint", "passed"),
        ("simulation", "passed"),
        ("crypto", "skipped"),
    ]
    assert {t["stage"] for t in told if t["type"] == "log"} >= {"lint", "simulation"}
    assert all(set(t) > {"tests_complete", "tests_total"} for t in told if t["type"] == "progress")

    state = verify.get(f"jobs/{job['job_id']}").json()
    assert state["status"] == "passed"
    assert state["progress"]["lint"]["status"] == "passed"
    assert state["progress"]["simulation"]["duration"].endswith("s")
    results(verify, job["job_id"])
    artifacts(verify, job["job_id"])
    logs = verify.get(f"jobs/{job['job_id']}/logs", params={"stage": "simulation", "tail": 100, "follow": False}).json()
    assert 2 < len(logs["logs"]) <= 100
    assert {entry["stage"] for entry in logs["logs"]} == {"simulation"}
    for kind, mark in (("html", b"<html"), ("sarif", b'"runs"'), ("junit", b"<testsuite"), ("markdown", b"#")):
        report = verify.post(f"jobs/{job['job_id']}/reports", json={"format": kind, "include": ["simulation", "lint"]})
        assert report.status_code == 200, report.text
        assert mark in report.content
    assert [point["status"] for point in verify.get(f"{url}/trend").json()["points"]] == ["passed"]
    assert verify.post(f"jobs/{job['job_id']}/cancel").status_code == 409
    health = verify.get("health").json()
    assert health["tools"]["verilator"]["available"]
    assert verify.delete(url).status_code == 204
    assert verify.get(url).status_code == 404


def stream(stack: Stack, job: str) -> list[dict[str, Any]]:
    address = str(stack.ready["api_url"]).replace("http", "ws", 1)
    headers = {"X-API-Key": stack.ready["api_key"]}
    with connect(f"{address}/api/v1/jobs/{job}/stream", additional_headers=headers) as socket:
        return [json.loads(message) for message in socket]


def results(verify: httpx.Client, job: str) -> None:
    found = verify.get(f"jobs/{job}/results").json()
    assert (found["job_id"], found["overall_status"]) == (job, "passed")
    lint, simulation = found["stages"]["lint"], found["stages"]["simulation"]
    assert lint["errors"] == 0
    assert simulation["tests_passed"] > 0
    assert simulation["tests_failed"] == 0
    assert simulation["coverage"]["line"] > 50
    assert found["stages"]["crypto"]["side_channel"]["status"] == "skipped"
    coverage = verify.get(f"jobs/{job}/results/coverage").json()
    assert any(path.endswith("uart_tx.sv") for path in coverage["files"])
    tests = verify.get(f"jobs/{job}/results/simulation").json()["details"]["tests"]
    assert sum(test["status"] == "passed" for test in tests) == simulation["tests_passed"]


def artifacts(verify: httpx.Client, job: str) -> None:
    names = {artifact["name"] for artifact in verify.get(f"jobs/{job}/artifacts").json()["artifacts"]}
    assert {"trace.fst", "coverage.xml", "lint.sarif", "junit.xml"} <= names
    assert len(verify.get(f"jobs/{job}/artifacts/trace.fst").content) > 100
    ElementTree.fromstring(verify.get(f"jobs/{job}/artifacts/coverage.xml").content)


def test_properties_are_proven_and_a_planted_bug_is_found(verify: httpx.Client) -> None:
    files = files_of("fifo")
    planted = {path.replace("planted/", "rtl/"): data for path, data in files.items() if path.startswith("planted/")}
    project = project_of(verify, "fifo", files, "fifo")
    good = run(verify, project, "formal")
    assert good["status"] == "passed", good
    upload = verify.post(f"projects/{project}/upload", files=[("files[]", item) for item in planted.items()])
    assert upload.status_code == 200
    bad = run(verify, project, "formal")
    assert bad["status"] == "failed"
    compared = verify.get(f"jobs/{good['job_id']}/compare/{bad['job_id']}").json()
    assert compared["worse_total"] >= 1
    found = verify.get(f"jobs/{bad['job_id']}/results/formal").json()
    failed = [one for one in found["details"]["properties"] if one["verdict"] == "failed"]
    assert failed
    assert all(one["file"].endswith(".sv") and one["line"] > 0 for one in failed)
    assert found["properties_failed"] == len(failed)


def test_an_ml_kem_butterfly_passes_every_stage_of_the_contract(verify: httpx.Client) -> None:
    project = project_of(verify, "butterfly", files_of("mlkem_butterfly"), "butterfly")
    job = run(verify, project, "lint", "simulation", "formal", "crypto")
    assert job["status"] == "passed", job
    stages = verify.get(f"jobs/{job['job_id']}/results").json()["stages"]
    assert stages["simulation"]["tests_passed"] >= 2
    assert stages["formal"]["properties_proven"] >= 1
    assert stages["crypto"]["constant_time"]["status"] == "passed"


def test_hostile_projects_end_tell_nothing_and_leave_nothing(verify: httpx.Client) -> None:
    top = "module top; endmodule\n"
    endless = "module tb; reg c = 0; always #1 c = ~c; top t(); endmodule\n"
    loud = 'module tb; initial forever begin $display("%s", {50{"x"}}); #1; end top t(); endmodule\n'
    nosy = (
        'module tb; integer f; initial begin f = $fopen("/etc/passwd", "r"); if (f != 0) $fatal; $finish; end '
        "top t(); endmodule\n"
    )
    config = BAD_CONFIG.replace("SECONDS", "3")
    for name, text, status in (("endless", endless, "failed"), ("loud", loud, "failed"), ("nosy", nosy, "passed")):
        files = {"lutlab.yaml": config, "top.v": top, "tb.v": text}
        project = project_of(verify, name, {path: data.encode() for path, data in files.items()})
        assert run(verify, project, "simulation")["status"] == status, name
    files = {"lutlab.yaml": config, "top.v": f'`include "/etc/passwd"\n{top}', "tb.v": endless}
    project = project_of(verify, "include", {path: data.encode() for path, data in files.items()})
    job = run(verify, project, "lint", "simulation")
    assert job["status"] == "failed"
    for part in ("results", "logs", "results/lint", "results/simulation"):
        assert "root:" not in verify.get(f"jobs/{job['job_id']}/{part}").text, part


def test_a_job_is_cancelled_in_the_middle_of_a_stage(stack: Stack, verify: httpx.Client) -> None:
    files = {
        "lutlab.yaml": BAD_CONFIG.replace("SECONDS", "300"),
        "top.v": "module top; endmodule\n",
        "tb.v": "module tb; reg c = 0; always #1 c = ~c; top t(); endmodule\n",
    }
    project = project_of(verify, "cancel", {path: data.encode() for path, data in files.items()})
    job = verify.post(f"projects/{project}/jobs", json={"stages": ["simulation", "formal"]}).json()["job_id"]
    deadline = time.monotonic() + 60
    while verify.get(f"jobs/{job}").json()["progress"]["simulation"]["status"] != "running" or not simulators(stack):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert verify.post(f"jobs/{job}/cancel").json()["status"] == "cancelled"
    while simulators(stack):
        assert time.monotonic() < deadline, "the simulator still runs"
        time.sleep(0.1)
    assert verify.get(f"jobs/{job}").json()["progress"]["formal"]["status"] == "cancelled"


def simulators(stack: Stack) -> list[psutil.Process]:
    """What the stack's builder runs of Icarus."""
    found = []
    for process in psutil.Process(stack.pids()["builder"]).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(word.endswith("/vvp") for word in process.cmdline()):
                found.append(process)
    return found
