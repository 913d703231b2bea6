"""README.md's tour, run as it stands: with curl, with the `lutlab` command, from Python."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import httpx
from e2e_support import BIN, ROOT, Stack, release_all

README = (ROOT / "README.md").read_text()
TIMEOUT_S = 120
HELPERS = """
set -eu
field() { python3 -c 'import json, sys; print(json.load(open("said"))[sys.argv[1]])' "$1"; }
complete() {
  until curl -s "$1" | tee state | grep -q '"complete"'; do
    if grep -q '"failed"' state; then cat state; exit 9; fi
    sleep 0.1
  done
}
"""


def block(language: str, having: str) -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (found,) = [text for name, text in blocks if name == language and having in text]
    return str(found)


def ran(command: list[str | Path], stack: Stack, folder: Path) -> str:
    env = {**os.environ, "LUTLAB_API_URL": stack.ready["api_url"], "LUTLAB_API_KEY": stack.ready["api_key"]}
    env |= {"BASE": stack.ready["api_url"], "API_KEY": stack.ready["api_key"]}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_the_tour_with_curl(stack: Stack, api: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = re.sub(r"^(BASE|API_KEY)=.*\n", "", block("sh", "curl -s $BASE/fpga"), flags=re.M)
    script = re.sub(r"^(curl (?:.*\\\n)*.*[^\\\n])$", r"\1 > said; cat said; echo", script, flags=re.M)
    script = re.sub(r"^JOB=\.\.\..*$", 'JOB=$(field job_id); complete "$BASE/fpga/0/jobs/$JOB"', script, flags=re.M)
    script = re.sub(r"^RUN=\.\.\..*$", "RUN=$(field job_id)", script, flags=re.M)
    assert script.count("> said") == 8
    said = ran(["bash", "-c", HELPERS + script], stack, tmp_path).splitlines()
    assert '"data":[42]' in said[-2].replace(" ", "")


def test_the_tour_with_the_command(stack: Stack, api: httpx.Client) -> None:
    text = block("", "lutlab write 0")
    lines = [line.removeprefix("$ .venv/bin/") for line in text.splitlines() if line.startswith("$ ")]
    shown = [line for line in text.splitlines() if not line.startswith("$ ")]
    assert len(lines) == 5
    assert len(shown) == 2
    said = "".join(ran([BIN / "lutlab", *line.split()[1:]], stack, ROOT) for line in lines)
    assert [line for line in said.splitlines() if line in shown] == shown
    assert "board.session_ended.v1" in said


def test_the_tour_from_python(stack: Stack, api: httpx.Client) -> None:
    assert ran([BIN / "python", "-c", block("python", "lab.running")], stack, ROOT).strip() == "[1, 2, 3]"
    page = (ROOT / "docs" / "python.md").read_text()
    said = ran([BIN / "python", "-c", "\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S))], stack, ROOT)
    assert "[1, 2, 3]" in said
    assert said.splitlines()[-1] == "[4, 5]"
    tested = ran([BIN / "python", "examples/echo_memory/ram_test.py"], stack, ROOT)
    assert tested.count("512 words are right") == 6
    release_all(api)
