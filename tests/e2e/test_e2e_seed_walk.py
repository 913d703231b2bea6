"""The seed guide's walk with the real curl, command by command."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from e2e_support import ROOT, Stack, wait_job

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")


def curl(stack: Stack, command: str, cwd: Path) -> str:
    """Run one command of the guide with its variables set."""
    env = {
        "BASE": stack.ready["api_url"],
        "API_KEY": stack.ready["api_key"],
        "SESSION_ID": "unused",
        "PATH": "/usr/bin",
    }
    done = subprocess.run(
        ["sh", "-c", command], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_the_guide_from_top_to_bottom(stack: Stack, api: httpx.Client, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples/echo_memory/design.py", tmp_path / "design.py")

    boards = json.loads(curl(stack, "curl -s $BASE/fpga", tmp_path))
    free = next(b["fpga_id"] for b in boards if b["state"] == "idle")

    submitted = json.loads(
        curl(stack, f'curl -s -X POST $BASE/fpga/{free}/submit -H "X-API-Key: $API_KEY" -F "file=@design.py"', tmp_path)
    )
    assert submitted["fpga_id"] == free
    assert submitted["status"] == "queued"

    assert wait_job(api, submitted["job_id"])["status"] == "complete"
    job = json.loads(curl(stack, f"curl -s $BASE/fpga/{free}/jobs/{submitted['job_id']}", tmp_path))
    assert job["status"] == "complete"
    log = curl(stack, f"curl -s $BASE/fpga/{free}/jobs/{submitted['job_id']}/logs", tmp_path)
    assert "Device utilisation" in log
    assert api.get(f"/fpga/{free}").json()["state"] == "reserved"

    run = json.loads(
        curl(
            stack,
            f'curl -s -X POST $BASE/fpga/{free}/run -H "X-API-Key: $API_KEY" -H "X-Session-ID: $SESSION_ID" '
            """-H "Content-Type: application/json" -d '{ "op": 1, "address": 0, "data": [42] }'""",
            tmp_path,
        )
    )
    result = json.loads(curl(stack, f"curl -s $BASE/fpga/{free}/jobs/{run['job_id']}/result", tmp_path))
    assert result == {"ok": True, "data": [42]}

    curl(
        stack,
        f'curl -s -X POST $BASE/fpga/{free}/session/release -H "X-API-Key: $API_KEY" -H "X-Session-ID: $SESSION_ID"',
        tmp_path,
    )
