"""Looking names up, so that one whose servers do not answer holds up no other.

An event loop has a handful of threads for this (uvloop's: two), and a question cannot be taken back: it keeps its
thread for as long as the system tries, long after whoever asked has given up. Here each name has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

NAMES_MAX = 256
"""Names that are asked for at once, each in a thread that only waits."""


class Names:
    """Asks the system; whoever wants a name that is being asked for waits for the same answer."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[list[str] | OSError]] = {}

    async def addresses(self, host: str) -> list[str]:
        """All addresses of a name. Raises: OSError: it has none, or too many names are being asked for."""
        asked = self._asked.get(host)
        if asked is None:
            if len(self._asked) >= NAMES_MAX:
                raise OSError(f"{NAMES_MAX} names are being looked up and not answered; {host} has to wait")
            asked = self._ask(host)
        found = await asyncio.shield(asked)
        if isinstance(found, OSError):
            raise OSError(str(found)) from found
        return found

    def _ask(self, host: str) -> asyncio.Future[list[str] | OSError]:
        loop = asyncio.get_running_loop()
        asked = self._asked[host] = loop.create_future()

        def told(found: list[str] | OSError) -> None:
            del self._asked[host]
            asked.set_result(found)

        def ask() -> None:
            found = _addresses(host)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(told, found)

        # Not one that the end of the process waits for.
        threading.Thread(target=ask, name=f"look up {host[:40]}", daemon=True).start()
        return asked


def _addresses(host: str) -> list[str] | OSError:
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError as error:  # an empty label, or one of more than 63 characters
        return OSError(f"{host[:80]!r} is no name: {error}")
    return [str(info[4][0]) for info in infos]
