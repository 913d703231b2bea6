"""Starting a child that cannot outlive us, and ending it in good order."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal a process gets when the thread that started it ends."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whom a child runs as, where that is not whoever we are."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """One child process.

    Attributes:
        name: how it is called in logs and status lines.
        argv: program and arguments.
        env: its whole environment.
        cwd: its working directory.
        identity: whom it runs as; None for our own user.
        stop_signal: asks it to end in good order.
        grace_s: how long it has for that before it is killed.
        death_signal: what the kernel sends it should we die without a word.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    identity: Identity | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL


def _bound_to_parent(death_signal: int) -> Callable[[], None] | None:
    """What the child does between fork and exec so that it dies with us; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # we died before the line above took effect
            os._exit(1)

    return bind


def spawn(spec: ProcessSpec, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that a terminal's Ctrl-C reaches only us.

    Call it from the main thread: the kernel ties the child to the thread that started it.

    Args:
        spec: what to start.
        output: where its standard output and error go.

    Raises:
        OSError: the program cannot be started.
    """
    identity = spec.identity
    return subprocess.Popen(
        spec.argv,
        env=dict(spec.env),
        cwd=spec.cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=identity.uid if identity else None,
        group=identity.gid if identity else None,
        extra_groups=[] if identity else None,
        # Runs after the change of user, which would have cleared the setting.
        preexec_fn=_bound_to_parent(spec.death_signal),  # noqa: PLW1509 - only calls prctl
    )


def signal_group(pid: int, signum: int) -> None:
    """Send a signal to a child started by `spawn` and to everything it started in its session's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def stop(process: subprocess.Popen[bytes], spec: ProcessSpec) -> int:
    """End a child: its stop signal, its grace, then kill; also what is left of its group. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(spec.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(spec.grace_s)
    signal_group(process.pid, signal.SIGKILL)
    return process.wait()
