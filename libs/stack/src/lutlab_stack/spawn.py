"""Starting a child that cannot outlive us, and ending it in good order."""

from __future__ import annotations

import asyncio
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


POLL_S = 0.1


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


def bound_to_parent(death_signal: int = signal.SIGKILL) -> Callable[[], None] | None:
    """What a child does between fork and exec so that it dies with us (`preexec_fn`); None where the system cannot.

    The kernel ties the child to the thread that starts it: start it from the main thread.
    """
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

    Call it from the main thread, see `bound_to_parent`.

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
        preexec_fn=bound_to_parent(spec.death_signal),  # noqa: PLW1509 - only calls prctl
    )


def signal_group(pid: int, signum: int) -> None:
    """Send a signal to a child started by `spawn` and to everything it started in its session's group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


async def wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child without blocking the event loop, and kill what it leaves of its group.

    Returns:
        Its exit code, negative for a signal.
    """
    if process.returncode is None and hasattr(os, "pidfd_open"):
        descriptor = os.pidfd_open(process.pid)
        try:
            await _readable(descriptor)
        finally:
            os.close(descriptor)
        # Before its exit code is collected: until then nobody else can get its number.
        signal_group(process.pid, signal.SIGKILL)
        return process.wait()
    while process.poll() is None:  # noqa: ASYNC110 - systems without pidfd have nothing to wait for
        await asyncio.sleep(POLL_S)
    return process.returncode


async def _readable(descriptor: int) -> None:
    """Wait until a file descriptor can be read; a process' one can once it has ended."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


async def stop_softly(process: subprocess.Popen[bytes], spec: ProcessSpec) -> int:
    """End a child and its group: its stop signal, its grace, then kill. Returns its exit code."""
    if process.returncode is not None:
        return process.returncode
    process.send_signal(spec.stop_signal)
    try:
        return await asyncio.wait_for(wait(process), spec.grace_s)
    except TimeoutError:
        signal_group(process.pid, signal.SIGKILL)
        return await wait(process)


def stop(process: subprocess.Popen[bytes], spec: ProcessSpec) -> int:
    """As `stop_softly`, blocking; for children without children of their own."""
    process.send_signal(spec.stop_signal)
    try:
        return process.wait(spec.grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
