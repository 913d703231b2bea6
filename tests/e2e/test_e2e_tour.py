"""docs/tour.md, run as written against a lab started as it says."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest
from e2e_support import ROOT, release_all, running

TOUR = ROOT / "docs" / "tour.md"
TIMEOUT_S = 240


def test_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTLAB_WEBHOOKS_ALLOW_NETWORKS", "127.0.0.0/8")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", TOUR.read_text(), re.MULTILINE | re.DOTALL))
    assert script.count("\n") > 40
    # As written, but for a comment: a design that was built before runs no stage.
    fresh = script.replace("<<'VERILOG'\n", f"<<'VERILOG'\n// {secrets.token_hex(8)}\n")
    assert fresh != script
    folder = tmp_path / "tour"
    folder.mkdir()
    with running(tmp_path / "data", "--boards", "2") as stack:
        env = {**os.environ, "LUTLAB_URL": stack.ready["api_url"], "LUTLAB_KEY": stack.ready["api_key"]}
        done = subprocess.run(
            ["bash", "-c", fresh], cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        with stack.client() as client:
            release_all(client)
    assert json.loads((folder / "result.json").read_text())["data"] == [42, 42]
    heard = [json.loads(line.partition(" ")[2]) for line in (folder / "heard.txt").read_text().splitlines()]
    jobs = list(dict.fromkeys(told["event"] for told in heard if told["position"]))
    assert jobs[0] == "job.queued"
    assert {"job.started", "stage.completed", "job.completed"} <= set(jobs)
    followed = (folder / "followed.txt").read_text()
    positions = [int(number) for number in re.findall(r"^id: (\d+)$", followed, re.MULTILINE)]
    assert positions == sorted(set(positions))
    assert followed.rstrip().endswith("event: job.completed.v1")
