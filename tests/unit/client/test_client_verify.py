"""`lutlab verify`, `project`, `report` and `config` against a lab that answers as the contract has it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from lutlab.cli import app
from lutlab.client import Client
from lutlab.commands import common

CONFIG = """\
project: {name: fifo, top_module: fifo, target_pdk: sky130}
design: {sources: [rtl/*.v]}
verification:
  simulation: {tool: icarus, testbenches: [tb/test_fifo.py]}
"""
PROJECT = {
    "id": "proj_1", "name": "fifo", "top_module": "fifo", "target_pdk": "sky130", "description": "", "status": "active",
    "files": 3, "owner": "ada", "created_at": "2026-01-15T10:30:00Z", "updated_at": "2026-01-15T10:30:00Z",
}  # fmt: skip
LINT = {"findings": [
    {"file": "rtl/fifo.v", "line": 3, "column": 7, "rule": "WIDTH", "severity": "warning", "message": "too wide"},
    {"file": "rtl/fifo.v", "line": 4, "rule": "UNUSED", "severity": "warning", "message": "x", "waived": "known"},
]}  # fmt: skip
TESTS = {
    "tests": [{"name": "fills_up", "status": "failed", "seconds": 1, "seed": 9, "message": "expected 3", "file": None}]
}


class Lab:
    """A lab with at most one project and one job."""

    def __init__(self) -> None:
        self.projects: list[dict[str, Any]] = []
        self.uploaded: dict[str, bytes] = {}
        self.submitted: dict[str, Any] = {}
        self.asked: list[str] = []
        self.verdict = "failed"
        self.refusal: httpx.Response | None = None
        self.synthesis: dict[str, Any] = {}
        self._looks = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        route = f"{request.method} {request.url.path.removeprefix('/api/v1')}"
        self.asked.append(route)
        if request.method != "GET":
            assert request.headers["Idempotency-Key"]
        found = self._answer(route, request)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    def _answer(self, route: str, request: httpx.Request) -> Any:
        match route:
            case "GET /projects":
                return {"projects": self.projects, "total": len(self.projects), "page": 1, "per_page": 100}
            case "POST /projects":
                self.projects = [PROJECT | json.loads(request.content)]
                return httpx.Response(201, json=self.projects[0])
            case "PUT /projects/proj_1":
                self.projects = [self.projects[0] | json.loads(request.content)]
                return self.projects[0]
            case "DELETE /projects/proj_1":
                self.projects = []
                return httpx.Response(204)
            case "POST /projects/proj_1/upload":
                assert request.url.params["replace"] == "true"
                self.uploaded = _parts(request)
                return {"uploaded": len(self.uploaded), "project_id": "proj_1", "files": list(self.uploaded)}
            case "POST /projects/proj_1/jobs":
                self.submitted = json.loads(request.content)
                return self.refusal or httpx.Response(202, json={"job_id": "job_1", "status": "queued", "seed": 9})
            case "GET /projects/proj_1/jobs":
                return {"jobs": [self._job("passed")], "total": 1, "page": 1, "per_page": 100}
            case "GET /jobs/job_1":
                self._looks += 1
                if request.headers.get("If-None-Match") and self._looks == 2:
                    return httpx.Response(304, headers={"Preference-Applied": "wait=2"})
                job = self._job("running" if self._looks < 4 else self.verdict)
                return httpx.Response(200, json=job, headers={"ETag": f'"{self._looks}"'})
            case "GET /jobs/job_1/logs":
                line = {"timestamp": "2026-01-15T10:35:03Z", "stage": "lint", "level": "INFO", "message": "reading"}
                if request.url.params.get("follow") == "true":
                    return httpx.Response(200, content=f"{json.dumps(line)}\n".encode() * 4)
                return {"logs": [line], "older": False}
            case "POST /jobs/job_1/cancel":
                return self._job("cancelled")
            case "GET /jobs/job_1/results":
                stages = {"lint": {"status": "passed", "warnings": 1, "errors": 0}}
                stages["simulation"] = {"status": self.verdict, "tests_failed": 1, "coverage": {"line": 96.4}}
                return {"job_id": "job_1", "overall_status": self.verdict, "stages": stages}
            case "GET /jobs/job_1/results/lint":
                return {"job_id": "job_1", "details": LINT}
            case "GET /jobs/job_1/results/simulation":
                return {"job_id": "job_1", "details": TESTS if self.verdict == "failed" else {}}
            case "GET /jobs/job_1/results/synthesis":
                return {"job_id": "job_1", **self.synthesis}
            case "GET /jobs/job_1/artifacts":
                left = [("trace.fst", "simulation"), ("junit.xml", "simulation"), ("netlist.json", "synthesis")]
                return {"artifacts": [{"name": name, "stage": stage} for name, stage in left]}
            case "GET /jobs/job_1/artifacts/trace.fst" | "GET /jobs/job_1/artifacts/netlist.json":
                return httpx.Response(200, content=f"{route.rpartition('/')[2]} {request.url.params['stage']}".encode())
            case "GET /jobs/job_0/compare/job_1":
                coverage = {"area": "coverage", "what": "rtl/fifo.v", "before": [18], "after": []}
                finding = {"area": "findings", "what": "rtl/fifo.v:3 WIDTH", "before": "too wide", "after": None}
                return {"worse": [coverage], "better": [finding], "other": []}
            case "GET /projects/proj_1/trend":
                point = {"job_id": "job_1", "status": "passed", "errors": 0, "coverage": {"line": 96.4}}
                return {"project_id": "proj_1", "points": [point]}
            case "POST /jobs/job_1/reports":
                return httpx.Response(200, content=b"<html>" + request.content)
        return httpx.Response(404, json={"error": {"code": "NOT_FOUND", "message": route}})

    def _job(self, status: str) -> dict[str, Any]:
        running = status == "running"
        progress = {
            "lint": {"status": "passed", "duration": "0.6s"},
            "simulation": {"status": status, **({"progress": "7/10 tests"} if running else {"duration": "3.1s"})},
            **({"synthesis": {"status": status}} if self.synthesis else {}),
        }
        return {"job_id": "job_1", "status": status, "progress": progress, "submitted_at": "2026-01-15T10:35:00Z"}


def _parts(request: httpx.Request) -> dict[str, bytes]:
    body = request.read()
    found = re.findall(rb'name="files\[\]"; filename="([^"]+)".*?\r\n\r\n(.*?)\r\n--', body, re.DOTALL)
    return {name.decode(): data for name, data in found}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    fake = Lab()

    class Faked(Client):
        def __init__(self, api_url: str | None = None, api_key: str | None = None, **_: object) -> None:
            super().__init__(api_url, api_key, transport=httpx.MockTransport(fake))

    monkeypatch.setattr(common, "Client", Faked)
    monkeypatch.setattr("lutlab.verification.POLL_S", 0.0)
    monkeypatch.setenv("LUTLAB_API_URL", "http://lab")
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "fifo"
    files = {"lutlab.yaml": CONFIG, "rtl/fifo.v": "module fifo; endmodule\n", "tb/test_fifo.py": "import cocotb\n"}
    left_behind = {"tb/__pycache__/x.pyc": "", ".git/config": "", "obj_dir/V.cpp": "", "odd name.v": ""}
    for name, text in {**files, **left_behind}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_verify_makes_uploads_submits_follows_and_shows(lab: Lab, folder: Path) -> None:
    code, out, err = run("verify", folder, "--override", "verification.simulation.coverage=true", "--seed", 9)
    assert code == 1
    assert lab.projects[0]["name"] == "fifo"
    assert set(lab.uploaded) == {"lutlab.yaml", "rtl/fifo.v", "tb/test_fifo.py"}
    assert lab.uploaded["rtl/fifo.v"] == b"module fifo; endmodule\n"
    assert lab.submitted == {
        "stages": ["lint", "simulation"],
        "config_overrides": {"verification.simulation.coverage": True},
        "seed": 9,
    }
    assert "simulation: running  7/10 tests\n" in err
    assert "'odd name.v'" in err
    assert re.search(r"simulation\s+✗ failed\s+3.1s\s+tests failed 1; line 96.4 %", out)
    assert "rtl/fifo.v:3:7: warning: too wide [WIDTH]" in out
    assert all(line == line.rstrip() for line in out.splitlines())  # no table padded to a width nobody asked for
    assert "known" not in out  # waived
    assert "failed: fills_up: expected 3 (seed 9)" in out


def test_a_job_that_passes_ends_with_0_and_the_project_is_used_again(lab: Lab, folder: Path) -> None:
    lab.verdict = "passed"
    lab.projects = [PROJECT | {"target_pdk": "gf22fdx"}]
    assert run("verify", folder, "--stages", "lint,simulation")[0] == 0
    assert lab.projects[0]["target_pdk"] == "sky130"
    assert "POST /projects" not in lab.asked
    lab.asked.clear()
    code, out, _ = run("verify", folder, "--json")
    assert code == 0
    assert json.loads(out)["overall_status"] == "passed"
    assert "PUT /projects/proj_1" not in lab.asked


def test_short_forms_ask_for_one_stage(lab: Lab, folder: Path) -> None:
    run("sim", folder, "--tool", "verilator", "--no-coverage", "--timeout", 7)
    assert lab.submitted["stages"] == ["simulation"]
    assert lab.submitted["config_overrides"] == {
        "verification.simulation.tool": "verilator",
        "verification.simulation.coverage": False,
        "verification.simulation.timeout_seconds": 7,
    }
    run("formal", folder, "--depth", 3)
    assert (lab.submitted["stages"], lab.submitted["config_overrides"]) == (
        ["formal"],
        {"verification.formal.depth": 3},
    )
    run("lint", folder)
    assert lab.submitted["stages"] == ["lint"]
    run("verify", folder, "--stages", "lint,formal", "--formal", "--sim")
    assert lab.submitted["stages"] == ["lint", "formal", "simulation"]
    run("verify", folder, "--all")
    assert lab.submitted["stages"] == ["lint", "simulation", "formal", "crypto"]
    run("synth", folder, "--target", "lfe5u-25f", "--top", "fifo")
    assert (lab.submitted["stages"], lab.submitted["config_overrides"]) == (
        ["synthesis"],
        {"project.target_pdk": "lfe5u-25f", "project.top_module": "fifo"},
    )


def test_waveforms_are_saved_where_no_upload_takes_them(lab: Lab, folder: Path) -> None:
    stale = folder / ".lutlab" / "waves" / "trace-of-old.fst"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    assert run("sim", folder, "--waves")[0] == 1  # a failed run's waveform is the one that is wanted
    assert lab.submitted["config_overrides"] == {"verification.simulation.waves": True}
    assert {path.name: path.read_bytes() for path in stale.parent.iterdir()} == {"trace.fst": b"trace.fst simulation"}
    lab.asked.clear()
    assert run("sim", folder, "--no-waves")[0] == 1
    assert lab.submitted["config_overrides"] == {"verification.simulation.waves": False}
    assert set(lab.uploaded) == {"lutlab.yaml", "rtl/fifo.v", "tb/test_fifo.py"}
    assert "GET /jobs/job_1/artifacts" not in lab.asked


def test_a_netlist_is_saved(lab: Lab, folder: Path, tmp_path: Path) -> None:
    err = run("synth", folder, "--output", tmp_path / "out" / "here")[2]
    assert [path.name for path in (tmp_path / "out" / "here").iterdir()] == ["netlist.json"]
    assert f"wrote {tmp_path}/out/here/netlist.json" in err


PLACED = {
    "device": "LFE5U-25F",
    "utilisation": [
        {"name": "LUTs", "used": 62, "available": 24288},
        {"name": "PLLs", "used": 0, "available": 2},
    ],
    "clocks": [{"name": "clk", "fmax_mhz": 88.25, "target_mhz": 100.0, "met": False}],
    "critical_path": {
        "delay_ns": 11.3,
        "clock": "clk",
        "steps": [{"kind": "logic", "from": "a", "to": "b", "at_ns": 1.5, "sources": ["rtl/fifo.v:3"]}],
    },
}


def test_timing_and_area_are_shown_as_asked(lab: Lab, folder: Path) -> None:
    lab.verdict = "passed"
    lab.synthesis = {"status": "passed", "details": PLACED}
    code, both, _ = run("analyze", folder, "--target", "lfe5u-25f")
    assert (code, lab.submitted["stages"]) == (0, ["synthesis"])
    assert lab.submitted["config_overrides"] == {"project.target_pdk": "lfe5u-25f"}
    rows = [line.split() for line in both.splitlines()]
    area = [["area", "used", "of", "LFE5U-25F"], ["LUTs", "62", "24288"]]
    timing = [
        ["clock", "fmax", "MHz", "aimed", "at", "met"],
        ["clk", "88.25", "100.0", "no"],
        ["longest", "path:", "11.3", "ns,", "clock", "clk"],
        ["at", "ns", "through", "to", "source"],
        ["1.5", "logic", "b", "rtl/fifo.v:3"],
    ]
    assert rows == area + timing
    for option, wanted in (("--area", area), ("--timing", timing)):
        assert [line.split() for line in run("analyze", folder, option)[1].splitlines()] == wanted
    assert json.loads(run("analyze", folder, "--json")[1])["details"] == PLACED


def test_an_estimate_is_called_one_and_power_is_for_the_lab_to_refuse(lab: Lab, folder: Path) -> None:
    lab.verdict = "passed"
    details = {"estimate": True, "note": "An estimate: generic gates.", "cells": [{"name": "NAND", "count": 3}]}
    lab.synthesis = {"status": "passed", "gate_equivalents": 7.5, "area_um2": 28.2, "details": details}
    _, out, err = run("analyze", folder)
    assert [line.split() for line in out.splitlines()] == [
        ["area", "cells"], ["NAND", "3"], ["7.5", "gate", "equivalents,", "28.2", "um2"],
    ]  # fmt: skip
    assert "An estimate" in err
    assert "no timing" in err
    lab.refusal = httpx.Response(422, json={"error": {"code": "TOOL_ERROR", "message": "no tool here estimates power"}})
    with pytest.raises(Exception, match="estimates power"):
        run("analyze", folder, "--power")
    assert lab.submitted["config_overrides"] == {"analysis.power.tool": "openroad"}


def test_detached_prints_the_id_and_does_not_wait(lab: Lab, folder: Path) -> None:
    assert run("verify", folder, "--detach")[:2] == (0, "job_1\n")
    assert "GET /jobs/job_1" not in lab.asked


def test_a_wrong_configuration_is_told_before_anything_is_sent(lab: Lab, folder: Path) -> None:
    (folder / "lutlab.yaml").write_text(CONFIG.replace("simulation", "simlation"))
    code, _, err = run("verify", folder)
    assert code == 2
    assert err == f"{folder}/lutlab.yaml:4: unknown field 'simlation'; did you mean 'verification.simulation'?\n"
    code, _, err = run("config", "validate", folder, "-o", "verification.formal.depht=3")
    assert code == 2
    assert "unknown field 'depht'; did you mean 'verification.formal.depth'?" in err
    assert lab.asked == []


def test_what_the_lab_refuses_is_told_with_what_it_suggests(lab: Lab, folder: Path) -> None:
    error = {"code": "VALIDATION_ERROR", "message": "no such stage", "details": {"suggestion": "lint"}}
    lab.refusal = httpx.Response(400, json={"error": error})
    with pytest.raises(Exception, match="no such stage"):
        run("verify", folder)


def test_projects_are_listed_shown_and_deleted(lab: Lab) -> None:
    lab.projects = [PROJECT]
    assert run("project", "list")[1].splitlines()[1].split() == ["fifo", "fifo", "sky130", "3", "2026-01-15", "proj_1"]
    shown = run("project", "show", "fifo")[1]
    assert "lint passed, simulation passed" in shown
    assert run("project", "delete", "fifo")[0] == 0
    assert lab.projects == []
    with pytest.raises(Exception, match="no project 'fifo'"):
        run("project", "delete", "fifo")


def test_jobs_are_compared_and_a_project_has_a_trend(lab: Lab) -> None:
    lab.projects = [PROJECT]
    out = run("compare", "job_0", "job_1")[1]
    assert "rtl/fifo.v: lines 18 no longer run" in out
    assert "rtl/fifo.v:3 WIDTH: gone: too wide" in out
    assert run("project", "trend", "fifo")[1].splitlines()[1].split() == ["job_1", "passed", "0", *"------", "96.4"]


def test_logs_and_cancel_know_a_verification_job_by_its_id(lab: Lab) -> None:
    lab.verdict = "passed"
    assert run("logs", "job_1")[1] == "lint       INFO    reading\n"
    lab._looks = 4  # it has ended: nothing is left out
    assert run("logs", "job_1", "--follow")[1] == "lint       INFO    reading\n" * 4
    assert run("logs", "job_1")[1] == "lint       INFO    reading\n" * 4
    assert run("cancel", "job_1")[0] == 0
    assert lab.asked[-1] == "POST /jobs/job_1/cancel"


def test_one_job_is_shown_with_its_stages(lab: Lab) -> None:
    code, out, _ = run("job", "job_1")
    assert code == 0
    assert out.splitlines()[0] == "job_1  verification  running"
    assert ["lint", "passed", "0.6s"] in [line.split() for line in out.splitlines()]
    assert ["simulation", "running", "7/10", "tests"] in [line.split() for line in out.splitlines()]
    assert json.loads(run("job", "job_1", "--json")[1])["progress"]["lint"]["status"] == "passed"


def test_a_folder_without_a_configuration_is_named(lab: Lab, folder: Path) -> None:
    (folder / "lutlab.yaml").unlink()
    code, _, err = run("verify", folder)
    assert code == 2
    assert err.startswith(f"{folder}: no lutlab.yaml")
    assert "did you mean" not in err


def test_reports_are_saved_under_a_fitting_name(lab: Lab, tmp_path: Path) -> None:
    assert run("report", "job_1", "--format", "junit", "--output", tmp_path, "--include", "lint,formal")[0] == 0
    asked = json.loads((tmp_path / "job_1.xml").read_bytes().removeprefix(b"<html>"))
    assert asked == {"format": "junit", "include": ["lint", "formal"], "template": None}
    run("report", "job_1", "--output", tmp_path / "new" / "r.html")
    assert (tmp_path / "new" / "r.html").read_bytes().startswith(b"<html>")
    assert run("report", "job_1", "--output", "-")[1].startswith("<html>")
    assert run("report", "job_1", "--output", f"{tmp_path}/reports/", "--include", "lint, formal")[0] == 0
    asked = json.loads((tmp_path / "reports" / "job_1.html").read_bytes().removeprefix(b"<html>"))
    assert asked["include"] == ["lint", "formal"]
    assert run("report", "job_1", "--format", "pdf")[0] == 2


def test_commands_are_about_this_folder_unless_told_otherwise(
    lab: Lab, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(Exception, match="'fifo' has no job"):
        run("report", "--format", "html")
    assert run("lint")[0] == 1
    assert set(lab.uploaded) == {"lutlab.yaml", "rtl/fifo.v", "tb/test_fifo.py"}
    assert run("verify", "--all")[0] == 1
    code, _, err = run("report", "--format", "html", "--output", "reports/")
    assert (code, "fifo: job job_1, passed" in err) == (0, True)
    assert (folder / "reports" / "job_1.html").exists()


def test_a_first_configuration_is_written_once(folder: Path) -> None:
    assert run("config", "init", folder)[0] == 2
    (folder / "lutlab.yaml").unlink()
    (folder / "odd name.v").unlink()
    assert run("config", "init", folder, "--name", "other")[0] == 0
    code, out, _ = run("config", "validate", folder)
    assert (code, out) == (0, "other: 1 source, stages lint, simulation\n")
    assert json.loads(run("config", "schema")[1])["title"] == "lutlab.yaml"


@pytest.mark.parametrize(
    ("template", "stages"),
    [("simple-counter", "lint, simulation, formal"), ("crypto-accelerator", "lint, simulation, formal, crypto"),
     ("empty", "lint")],
)  # fmt: skip
def test_a_project_is_begun_from_a_template(tmp_path: Path, template: str, stages: str) -> None:
    folder = tmp_path / "new"
    assert run("init", "my-first", "--template", template, "--folder", folder)[0] == 0
    assert run("config", "validate", folder)[1] == f"my-first: 1 source, stages {stages}\n"
    code, _, err = run("init", "my-first", "--folder", folder)
    assert (code, "not empty" in err) == (2, True)
    assert run("init", "no_name", "--folder", tmp_path / "other")[0] == 2
    assert not (tmp_path / "other").exists()
