"""What a path can be asked, for whoever asked something else of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.routing import BaseRoute, Route, WebSocketRoute


class Paths:
    """The patterns of an application's routes, with their methods."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._methods: list[tuple[re.Pattern[str], frozenset[str]]] = []
        self._sockets: list[re.Pattern[str]] = []
        for route in routes:
            if isinstance(route, Route):
                self._methods.append((route.path_regex, frozenset(route.methods or ())))
            elif isinstance(route, WebSocketRoute):
                self._sockets.append(route.path_regex)

    def methods(self, path: str) -> list[str]:
        """Every method of a path, sorted; HEAD wherever there is GET."""
        found = {method for pattern, methods in self._methods if pattern.match(path) for method in methods}
        return sorted(found | ({"HEAD"} if "GET" in found else set()))

    def is_websocket(self, path: str) -> bool:
        """Whether a WebSocket is served here."""
        return any(pattern.match(path) for pattern in self._sockets)
