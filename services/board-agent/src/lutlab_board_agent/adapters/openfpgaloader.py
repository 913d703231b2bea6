"""Port `Programmer` with openFPGALoader, the program that loads real boards and virtual ones alike."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import structlog

from lutlab_board_agent.adapters.loader_binary import LoaderBinary
from lutlab_board_agent.domain.errors import LoaderFailed
from lutlab_board_agent.domain.lab import Cable, LoaderArgs
from lutlab_board_agent.domain.loader import LoaderCode, classify, tail

log = structlog.get_logger(__name__)

OUTPUT_BYTES_MAX = 64 * 1024
"""Of a loader's output only this much, its end, is kept."""
READ_BYTES = 4096
RESOLVE_TIMEOUT_S = 5.0
END_S = 5.0
"""How long a killed loader may take to be gone; one that hangs in the kernel, at a sick USB port, never is."""
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "OPENFPGALOADER_SOJ_DIR")

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: a killed agent takes its loader along, so that a restarted one has the cable to itself."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class OpenFpgaLoader:
    """Loads bitstreams into SRAM.

    Args:
        binary: from `find_loader`.
        scratch_dir: folder for the file the loader reads, of this process alone; emptied here.
    """

    def __init__(self, binary: LoaderBinary, scratch_dir: Path) -> None:
        self._binary = binary
        self._scratch = scratch_dir
        shutil.rmtree(scratch_dir, ignore_errors=True)
        scratch_dir.mkdir(parents=True, mode=0o700)

    async def load(self, cable: Cable, bitstream: bytes, *, timeout_s: float) -> None:
        """Load a bitstream. Raises: LoaderFailed with a `LoaderCode`."""
        options = await _cable_options(cable)
        descriptor, name = tempfile.mkstemp(suffix=".bit", dir=self._scratch)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(bitstream)
            await self._run([*options, str(path)], timeout_s)
        finally:
            path.unlink(missing_ok=True)

    async def _run(self, arguments: list[str], timeout_s: float) -> None:
        environment = {k: v for k in KEPT_VARIABLES if (v := os.environ.get(k)) is not None}
        process = await asyncio.create_subprocess_exec(
            str(self._binary.path),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment | self._binary.environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        output = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                await _collect(process, output)
                status = await process.wait()
        except TimeoutError:
            said = tail(output.decode(errors="replace")) or "(it said nothing)"
            raise LoaderFailed(
                LoaderCode.LOADER_TIMEOUT,
                f"openFPGALoader did not finish within {timeout_s:.1f} s; check the cable and that no other program "
                f"holds it; its last words: {said}",
            ) from None
        finally:
            await _end(process)
        failure = classify(output.decode(errors="replace"), status)
        if failure is not None:
            raise LoaderFailed(*failure)


async def _cable_options(cable: Cable) -> list[str]:
    """openFPGALoader's options that choose the cable."""
    if isinstance(cable, LoaderArgs):
        return list(cable.args)
    # The loader takes an IPv4 address where people write a name.
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                cable.host, cable.port, family=socket.AF_INET, type=socket.SOCK_STREAM
            )
    except (OSError, TimeoutError) as error:
        raise LoaderFailed(
            LoaderCode.CABLE_UNREACHABLE, f"the cable's host {cable.host!r} has no IPv4 address: {error}"
        ) from error
    return ["-c", "xvc-client", "--ip", str(found[0][4][0]), "--port", str(cable.port)]


async def _collect(process: asyncio.subprocess.Process, output: bytearray) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(READ_BYTES):
        output += data
        del output[:-OUTPUT_BYTES_MAX]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that nothing of the loader is left, its children included; what cannot be ended holds nobody up."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: it became another user
            os.killpg(process.pid, signal.SIGKILL)
        ended, _ = await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=END_S)
        if not ended:
            hint = "it hangs in the kernel or is another user's: unplug the cable, or restart the host"
            log.error("loader_not_ended", pid=process.pid, hint=hint)
