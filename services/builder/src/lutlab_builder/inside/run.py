"""Entry of every sandboxed program: give up privileges, bind resources, then run one module of this package.

    python run.py REQUEST.json

The request (written by the sandbox adapter) holds `program`, `params`, `paths`, `uid`, `limits`, `design`, `inputs`
and `outputs`. Nothing of the user's runs before the limits hold.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

_PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION_3 = 0x20080522
_OPEN_FILES_MAX = 256


def drop_privileges(uid: int | None) -> None:
    """Become `uid` for good, without groups; None keeps the user (a user namespace has already done it)."""
    if uid is None:
        return
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    # Changing the user empties every set of capabilities but the inheritable one.
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")
    # It also makes /proc/self belong to root, which tools that read their own /proc trip over.
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def bind_limits(limits: dict[str, Any]) -> None:
    """Set the rlimits a program can never raise again."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES_MAX,
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NPROC: limits["processes_hard"],
        resource.RLIMIT_AS: limits["address_space_bytes"],
        resource.RLIMIT_DATA: limits["data_bytes"],
    }
    for kind, value in wanted.items():
        if value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    # The soft limit's signal tells apart a program that used up its time from one that was killed.
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"] + 1))


def _line_buffer_c_output() -> None:
    """C libraries print through stdio, which would hold lines back as long as its output is a pipe."""
    libc = ctypes.CDLL(None)
    stdout = ctypes.c_void_p.in_dll(libc, "stdout")
    libc.setvbuf(stdout, None, 1, 0)


def main(request_path: str) -> int:
    """Run the requested program; its exit status."""
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    drop_privileges(request["uid"])
    bind_limits(request["limits"])
    _line_buffer_c_output()
    sys.path.extend(request["paths"])
    program = importlib.import_module(f"lutlab_builder.inside.{request['program']}")
    return int(program.main(request))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
