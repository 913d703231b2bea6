"""Port `Door`: the Unix socket of a virtual board."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

from lutlab_board_agent.domain.errors import DoorClosed, DoorRefused
from lutlab_events.busmsg import BusVerb
from lutlab_events.signal_names import SignalNames

ANSWER_BYTES_MAX = 16 * 1024 * 1024
TIMEOUT_S = 45.0


class SocketDoor:
    """Asks at sockets."""

    async def ask(self, path: str, verb: BusVerb, request: bytes) -> bytes:
        """See `Door`."""
        try:
            asked = json.loads(request or b"{}")
            line = json.dumps({**asked, "ask": verb.value}).encode() + b"\n"
        except (ValueError, TypeError) as error:
            raise DoorRefused(f"the request is no JSON object: {error}") from error
        told = await self._told(path, line)
        return (told if isinstance(told, str) else json.dumps(told)).encode()

    async def tell_names(self, path: str, names: SignalNames) -> None:
        """See `Door`."""
        await self._told(path, json.dumps({"ask": "names", "names": names}).encode() + b"\n")

    async def _told(self, path: str, line: bytes) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = json.loads(await self._exchange(path, line))
        except (OSError, ValueError, TimeoutError) as error:
            raise DoorClosed(f"the board's side door {path} does not answer: {error!r}") from error
        if not isinstance(answer, dict) or not answer.keys() & {"refused", "ok"}:
            raise DoorClosed(f"the board's side door {path} answers something else")
        if "refused" in answer:
            raise DoorRefused(str(answer["refused"]))
        return answer["ok"]

    async def _exchange(self, path: str, line: bytes) -> bytes:
        # By way of the folder's descriptor: an address has room for 107 characters only.
        folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
        try:
            address = f"/proc/self/fd/{folder}/{Path(path).name}"
            reader, writer = await asyncio.open_unix_connection(address, limit=ANSWER_BYTES_MAX)
        finally:
            os.close(folder)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
