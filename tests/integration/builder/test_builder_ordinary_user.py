"""The sandbox of a builder that runs as an ordinary user, on hosts where the tests themselves run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builder_support import EXAMPLES, TOOLS_DIR

NOBODY = 65534
BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"


def _interpreter() -> Path | None:
    """A Python of this version that any user may run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (
        Path(os.path.realpath(sys.executable)),
        Path("/usr/bin") / version,
        Path("/usr/local/bin") / version,
    ):
        parents = candidate.parents
        if candidate.is_file() and all(parent.stat().st_mode & 0o001 for parent in parents):
            return candidate
    return None


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the tests run as an ordinary user already"),
    pytest.mark.skipif(_interpreter() is None, reason="no Python of this version that an ordinary user may run"),
]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder of that user's own."""
    folder = Path(tempfile.mkdtemp(prefix="lutlab-nobody-"))
    if TOOLS_DIR.is_dir():
        shutil.copytree(TOOLS_DIR, folder / "cache" / "builder" / "tools")
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def build(home: Path, source: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    packages = os.pathsep.join(path for path in sys.path if path and Path(path).is_dir())
    return subprocess.run(
        [str(_interpreter()), "-m", "lutlab_builder", "build", str(source), "--out", str(home / "out")],
        env={
            "PATH": os.defpath,
            "HOME": str(home),
            "TMPDIR": str(home),
            "PYTHONPATH": packages,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LUTLAB_CACHE_DIR": str(home / "cache"),
            **environment,
        },
        cwd=home,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_ordinary_user_can_build(home: Path) -> None:
    done = build(home, EXAMPLES / "counter" / "design.v")
    assert done.returncode == 0, done.stderr
    assert '"mode": "userns"' in done.stderr
    assert (home / "out" / "design.bit").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (BOMB, "error in elaborate: process_limit: "),
        ("x = bytearray(2 << 30)\n", "error in elaborate: memory_limit: design.py:1: "),
        ("open('/etc/passwd')\n", "design_raised: design.py:1: FileNotFoundError: "),
        ("import socket\nsocket.create_connection(('1.1.1.1', 53), 2)\n", "design.py:2: OSError: [Errno 101]"),
        (
            "try:\n  open('/x', 'w')\nexcept OSError:\n  open('/dev/x', 'w')\n",
            "design.py:4: OSError: [Errno 30] Read-only",
        ),
        ("while True: pass\n", "error in elaborate: time_limit: "),
    ],
)
def test_an_ordinary_users_sandbox_holds(home: Path, source: str, message: str) -> None:
    design = home / "design.py"
    design.write_text(source)
    done = build(home, design, LUTLAB_BUILDER_ELABORATE_WALL_S="3")
    assert done.returncode == 1
    assert message in done.stderr
