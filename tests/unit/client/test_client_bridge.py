"""The local port in front of a bridge, and how a connection to a bridge begins; over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from lutlab.bridge import connect_bridge, forward
from lutlab.errors import Refused, StreamFailed
from lutlab.models import BridgeWay

TOKEN = bytes(range(32))
BEGINNING = bytes.fromhex("10000008 00000000") + TOKEN


def serve(listener: socket.socket, answer: bytes) -> None:
    """A bridge that checks the beginning, then answers each 4 bytes with the same in reverse."""
    client, _ = listener.accept()
    with client:
        assert client.recv(40, socket.MSG_WAITALL) == BEGINNING
        client.sendall(answer)
        while answer == bytes(4) and (data := client.recv(4, socket.MSG_WAITALL)):
            client.sendall(data[::-1])


def bridge(answer: bytes = bytes(4)) -> BridgeWay:
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with listener:
            serve(listener, answer)

    threading.Thread(target=run, daemon=True).start()
    return BridgeWay(host="127.0.0.1", port=listener.getsockname()[1], token=TOKEN.hex())


def test_a_connection_begins_with_the_token() -> None:
    with connect_bridge(bridge()) as sock:
        sock.sendall(b"abcd")
        assert sock.recv(4, socket.MSG_WAITALL) == b"dcba"


@pytest.mark.parametrize("answer", [b"\1\0\0\0", b"", b"\0\0"])
def test_refusals(answer: bytes) -> None:
    with pytest.raises(StreamFailed, match="refused"):
        connect_bridge(bridge(answer))


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        way = BridgeWay(host="127.0.0.1", port=probe.getsockname()[1], token=TOKEN.hex())
        with pytest.raises(StreamFailed, match="cannot be reached"):
            connect_bridge(way)


def test_a_local_port_needs_no_token() -> None:
    ways = [bridge(), bridge(b"\1\0\0\0"), Refused("fpga_not_reserved", "the session ended", status=409), bridge()]

    def ask() -> BridgeWay:
        way = ways.pop(0)
        if isinstance(way, Refused):
            raise way
        return way

    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):  # the listener's end
                forward(listener, ask, notes.append)

        threading.Thread(target=run, daemon=True).start()
        for is_open in (True, False, False, True):
            with socket.create_connection(listener.getsockname(), 5) as client:
                client.sendall(b"1234")
                client.settimeout(5)
                try:
                    answer = client.recv(4)
                except ConnectionResetError:
                    answer = b""
                assert (answer == b"4321") is is_open
    assert len(notes) == 2 and "refused" in notes[0] and notes[1] == "the session ended"
