"""The unmodified public SDK and its bundled examples, from PyPI, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from e2e_support import Stack

SDK = "manhattan-reasoning-gym==0.1.11"


def fetch_sdk(home: Path, *extras: str) -> Path:
    """The SDK's source distribution, unpacked, with a virtual environment `venv` beside it that has it installed."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "download", "--no-binary", ":all:", "--no-deps", "--ignore-requires-python", "-d", home, SDK],
        check=True, timeout=120,
    )  # fmt: skip
    with tarfile.open(next(home.glob("*.tar.gz"))) as archive:
        archive.extractall(home, filter="data")
    source = next(p for p in home.iterdir() if p.is_dir())
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True, timeout=120)
    install = [home / "venv/bin/python", "-m", "pip", "-q", "install"]
    subprocess.run([*install, "--ignore-requires-python", source], check=True, timeout=180)
    if extras:
        subprocess.run([*install, *extras], check=True, timeout=180)
    return source


def run_in_sdk(sdk: Path, command: list[str], stack: Stack, transport: str = "websocket") -> str:
    """Run a command of the SDK's environment among its examples; what it printed."""
    env = {**os.environ, "MRG_API_KEY": stack.ready["api_key"], "MRG_TRANSPORT": transport, "HOME": str(sdk.parent)}
    program = sdk.parent / "venv/bin" / command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=sdk, env=env, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def mrg(sdk: Path, stack: Stack, *arguments: str, transport: str = "websocket") -> str:
    """Run the SDK's command and return what it printed."""
    return run_in_sdk(sdk, ["mrg", *arguments], stack, transport)
