"""Ports that stay."""

from __future__ import annotations

import socket
from pathlib import Path

from lutlab_stack.ports import PORT_FIRST, PORT_LAST, free_port, is_free, stored_port


def test_a_listener_takes_its_port() -> None:
    port = free_port()
    assert PORT_FIRST <= port <= PORT_LAST
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
    assert is_free(port)


def test_a_stored_port_stays_until_somebody_takes_it(tmp_path: Path) -> None:
    port = stored_port(tmp_path / "port")
    assert stored_port(tmp_path / "port") == port
    with socket.create_server(("127.0.0.1", port)):
        other = stored_port(tmp_path / "port")
    assert other != port
    assert stored_port(tmp_path / "port") == other


def test_a_damaged_port_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("rubbish")
    port = stored_port(tmp_path / "port")
    assert (tmp_path / "port").read_text() == f"{port}\n"
