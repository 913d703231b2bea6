"""Ports that stay."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from lutlab_stack.errors import NoFreePort
from lutlab_stack.ports import PORT_FIRST, PORT_LAST, free_port, is_free, problem_with, stored_port


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


def test_addresses_of_both_kinds_and_names_are_tried_as_they_are() -> None:
    assert is_free(free_port("localhost"), "localhost")
    if socket.has_ipv6:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
            port = taken.getsockname()[1]
            assert (is_free(port, "::1"), is_free(port)) == (False, True)
        assert is_free(port, "::1")


def test_an_address_that_is_not_ours_is_no_taken_port() -> None:
    for host in ("192.0.2.1", "nosuchhost.invalid"):
        problem = problem_with(8000, host)
        assert problem is not None
        assert problem.errno != errno.EADDRINUSE
        with pytest.raises(NoFreePort, match=host):
            free_port(host)
