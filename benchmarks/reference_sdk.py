"""The reference SDK's codec, for the benches that speak its frames or measure beside it.

It comes from the SDK's source distribution, fetched when a bench runs and kept in the temporary folder, never in this
repository.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

NAME = "manhattan-reasoning-gym"
SDK = f"{NAME}==0.1.11"
FETCH_TIMEOUT_S = 300.0


def sdk_codec() -> ModuleType:
    """The SDK's `_wire`, unmodified. Raises: what pip or the download raises."""
    folder = Path(tempfile.gettempdir()) / f"lutlab-bench-sdk-{os.getuid()}"
    if not list(folder.glob("*.tar.gz")):
        folder.mkdir(exist_ok=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
        options = ["--no-deps", "--no-binary", NAME, "--ignore-requires-python", "-d", str(folder)]
        subprocess.run([*pip, *options, SDK], check=True, timeout=FETCH_TIMEOUT_S)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("/manhattan_reasoning_gym/_wire.py"))
        file = archive.extractfile(member)
        assert file is not None
        path = folder / "reference_wire.py"
        path.write_bytes(file.read())
    spec = importlib.util.spec_from_file_location("reference_wire", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
