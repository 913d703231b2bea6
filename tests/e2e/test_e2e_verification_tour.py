"""docs/verification.md, run as written against the lab of these tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e_support import BIN, ROOT, Stack

from lutlab_verify.catalogue import installed

PAGE = ROOT / "docs" / "verification.md"
TIMEOUT_S = 240


@pytest.mark.skipif(not installed("iverilog"), reason="needs Icarus Verilog: make tools")
def test_the_tour_of_verification(stack: Stack, tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    assert script.count("\n") > 30
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    env = {**os.environ, "LUTLAB_API_URL": stack.ready["api_url"], "LUTLAB_API_KEY": stack.ready["api_key"]}
    env["PATH"] = f"{BIN}:{env['PATH']}"
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", script],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    said = [" ".join(line.split()) for line in (done.stdout + done.stderr).splitlines()]
    for told in re.findall(r"^    (worse.*)$", PAGE.read_text(), re.MULTILINE):  # what the page shows is what is said
        assert any(line.startswith(" ".join(told.split())) for line in said), told
    assert json.loads((tmp_path / "good.json").read_text())["overall_status"] == "passed"
    page = (tmp_path / "report.html").read_text()
    assert "transmits_every_bit" in page
    assert "wrong parity bit" in page
    (python,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [BIN / "python", "-c", python], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("passed "), done.stderr
