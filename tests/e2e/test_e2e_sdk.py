"""The unmodified public SDK and its bundled examples, from PyPI, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2e_support import Stack

SDK = "manhattan-reasoning-gym==0.1.11"


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The SDK's source distribution, unpacked, with a virtual environment `venv` beside it."""
    home = tmp_path_factory.mktemp("sdk")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "download", "--no-binary", ":all:", "--no-deps", "--ignore-requires-python", "-d", home, SDK],
        check=True, timeout=120,
    )  # fmt: skip
    with tarfile.open(next(home.glob("*.tar.gz"))) as archive:
        archive.extractall(home, filter="data")
    source = next(p for p in home.iterdir() if p.is_dir())
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True, timeout=120)
    subprocess.run(
        [home / "venv/bin/python", "-m", "pip", "-q", "install", "--ignore-requires-python", source],
        check=True, timeout=180,
    )  # fmt: skip
    yield source


def mrg(sdk: Path, stack: Stack, *arguments: str, transport: str = "websocket") -> str:
    """Run the SDK's command and return what it printed."""
    env = {**os.environ, "MRG_API_KEY": stack.ready["api_key"], "MRG_TRANSPORT": transport, "HOME": str(sdk.parent)}
    done = subprocess.run(
        [sdk.parent / "venv/bin/mrg", *arguments],
        cwd=sdk,
        env=env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


EXAMPLES = {
    "examples/hello_wishbone/client_sdk.py": "OK (last word won)",
    "examples/verilog_hello/client_sdk.py": "OK",
    "examples/app.py": "3*4 + 3*5 = 27",
    "examples/multi_file/client.py": "Multi-file design returned the expected value",
}


@pytest.mark.parametrize("transport", ["websocket", "http"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_bundled_example(sdk: Path, stack: Stack, api: httpx.Client, example: str, transport: str) -> None:
    printed = mrg(sdk, stack, "run", "--api-url", stack.ready["api_url"], example, transport=transport)
    assert EXAMPLES[example] in printed
    assert "MISMATCH" not in printed


def test_status_and_job_listing(sdk: Path, stack: Stack, api: httpx.Client) -> None:
    url = stack.ready["api_url"]
    assert "idle" in mrg(sdk, stack, "status", "--api-url", url)
    mrg(sdk, stack, "jobs", "--api-url", url)
