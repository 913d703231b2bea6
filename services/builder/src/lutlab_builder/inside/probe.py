"""The smallest program: shows that the sandbox works on this host, and what it hides."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> int:
    """Write who we are and how many network interfaces we see."""
    seen = {
        "uid": os.getuid(),
        "pid": os.getpid(),
        "interfaces": [path.name for path in Path("/proc/self/net/dev_snmp6").iterdir()],
    }
    if "result" in request["outputs"]:
        Path(request["outputs"]["result"]).write_text(json.dumps(seen), encoding="utf-8")
    return 0
