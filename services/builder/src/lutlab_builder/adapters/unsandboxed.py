"""No sandbox: the same programs with the builder's own rights. Only where the operator asks for it by name.

Limits on time, memory, processes and output hold as well as they can; files, network and other processes are open to
the design.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lutlab_builder.adapters.child import run_child
from lutlab_builder.adapters.hostfiles import HostFiles
from lutlab_builder.app.ports import Outcome, SandboxJob


class NoSandbox:
    """Implements the Sandbox port without a sandbox."""

    def __init__(self, files: HostFiles, yowasp_cache: Path) -> None:
        self._files = files
        self._yowasp_cache = yowasp_cache

    async def run(self, job: SandboxJob, on_line: Callable[[str], None]) -> Outcome:
        """See `lutlab_builder.app.ports.Sandbox.run`."""
        with tempfile.TemporaryDirectory(prefix="lutlab-unsandboxed-") as folder:
            request = Path(folder) / "request.json"
            request.write_text(json.dumps(self._request(job)), encoding="utf-8")
            for output in job.outputs.values():
                output.touch(mode=0o600, exist_ok=False)
            entry = self._files.inside / "run.py"
            return await run_child(
                [str(self._files.python), "-s", "-P", "-S", "-B", str(entry), str(request)],
                env=self._environment(folder),
                limits=job.limits,
                on_line=on_line,
                cwd=job.design or Path(folder),
            )

    def _request(self, job: SandboxJob) -> dict[str, object]:
        own = [str(path.parent) for path in self._files.packages.values()]
        source = str(self._files.inside.parents[1])
        return {
            "program": job.program,
            "params": dict(job.params),
            "paths": list(dict.fromkeys([source, *own, *map(str, self._files.sites)])),
            "uid": None,
            # A hard process limit counts all of the user's processes, not only the program's.
            "limits": {**asdict(job.limits), "processes_hard": None},
            "design": str(job.design) if job.design else None,
            "inputs": {name: str(path) for name, path in job.inputs.items()},
            "outputs": {name: str(path) for name, path in job.outputs.items()},
        }

    def _environment(self, folder: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": folder,
            "TMPDIR": folder,
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            "YOWASP_CACHE_DIR": str(self._yowasp_cache),
        }
