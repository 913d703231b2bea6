"""The peers, each as users run it, with the same few calls: `read_one`, `read_block`, `write_block`, `scatter`.

They are installed with `pip install .[bench]`, but for the reference SDK's codec (`benchmarks/reference_sdk.py`).
"""

# ruff: noqa: PLC0415 - a peer that is not installed must not keep the others from running

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device import FakeDevice

sys.path.append(str(Path(__file__).parents[1]))
from reference_sdk import sdk_codec

LITEX_WORDS_MAX = 255
"""What a LiteX command's length byte can say."""


class LiteXUart:
    """LiteX `CommUART`. Writes are not acknowledged, so a read ends them."""

    name, protocol = "LiteX CommUART", "litex"

    def __init__(self, device: FakeDevice) -> None:
        from litex.tools.remote.comm_uart import CommUART

        self._comm = CommUART(device.path, 1_000_000)

    def read_one(self, address: int) -> int:
        return int(self._comm.read(4 * address))

    def read_block(self, address: int, count: int) -> list[int]:
        words: list[int] = []
        for start in range(0, count, LITEX_WORDS_MAX):
            words += self._comm.read(4 * (address + start), min(LITEX_WORDS_MAX, count - start))
        return words

    def write_block(self, address: int, words: Sequence[int]) -> None:
        self._comm.write(4 * address, words)
        self.read_one(address)

    def scatter(self, addresses: Sequence[int]) -> list[int]:
        return [self.read_one(address) for address in addresses]

    def cpu_s(self) -> float:
        return 0.0

    def close(self) -> None:
        self._comm.close()


class LiteXRemote(LiteXUart):
    """LiteX `RemoteClient` over `litex_server` in a process of its own."""

    name = "LiteX RemoteClient"

    def __init__(self, device: FakeDevice) -> None:
        from litex.tools.litex_client import RemoteClient

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        code = (
            "import sys, time\nfrom litex.tools.remote.comm_uart import CommUART\n"
            "from litex.tools.litex_server import RemoteServer\n"
            "server = RemoteServer(CommUART(sys.argv[1], 1000000), '127.0.0.1', int(sys.argv[2]))\n"
            "server.open()\nserver.start(1)\ntime.sleep(3600)"
        )
        command = [sys.executable, "-W", "ignore", "-c", code, device.path, str(port)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        time.sleep(0.2)  # the server takes one client at a time; let it notice that the probe left
        self._comm = RemoteClient("127.0.0.1", port)
        self._comm.open()

    def write_block(self, address: int, words: Sequence[int]) -> None:
        for start in range(0, len(words), LITEX_WORDS_MAX):
            self._comm.write(4 * (address + start), list(words[start : start + LITEX_WORDS_MAX]))
        self.read_one(address)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self._comm.close()
        self._server.terminate()
        self._server.wait()


class Manta:
    """Manta's UART interface; its bus has 16-bit words, so one of ours is two of its."""

    name, protocol = "manta-fpga", "manta"

    def __init__(self, device: FakeDevice) -> None:
        from manta.uart import UARTInterface

        self._uart = UARTInterface(device.path, 1_000_000, 100e6)

    def read_one(self, address: int) -> int:
        low, high = self._uart.read([2 * address, 2 * address + 1])
        return int(low | high << 16)

    def read_block(self, address: int, count: int) -> list[int]:
        return self._pairs(self._uart.read(list(range(2 * address, 2 * (address + count)))))

    def write_block(self, address: int, words: Sequence[int]) -> None:
        halves = [half for word in words for half in (word & 0xFFFF, word >> 16)]
        self._uart.write(list(range(2 * address, 2 * (address + len(words)))), halves)
        self.read_one(address)

    def scatter(self, addresses: Sequence[int]) -> list[int]:
        return self._pairs(self._uart.read([half for a in addresses for half in (2 * a, 2 * a + 1)]))

    @staticmethod
    def _pairs(halves: Sequence[int]) -> list[int]:
        return [low | high << 16 for low, high in zip(halves[::2], halves[1::2], strict=True)]

    def cpu_s(self) -> float:
        return 0.0

    def close(self) -> None:
        device = getattr(self._uart, "_serial_device", None)
        if device is not None:
            device.close()


class ReferenceCodec:
    """The reference SDK's codec on a bare descriptor, the best case for it: its own transport is a WebSocket."""

    name, protocol = "reference codec", "manhattan"

    def __init__(self, device: FakeDevice) -> None:
        self._wire: Any = sdk_codec()
        self._fd = device.open_fd()

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _receive(self, size: int) -> bytes:
        parts = [os.read(self._fd, size)]
        while (left := size - sum(map(len, parts))) > 0:
            parts.append(os.read(self._fd, left))
        return b"".join(parts) if len(parts) > 1 else parts[0]

    def read_one(self, address: int) -> int:
        return int(self.read_block(address, 1)[0])

    def read_block(self, address: int, count: int) -> Sequence[int]:
        self._send(self._wire.WishboneRequest(self._wire.WishboneOp.READ, 4 * address, count=count).to_bytes())
        words: Sequence[int] = self._wire.WishboneResponse.from_bytes(self._receive(4 + 4 * count)).data
        return words

    def write_block(self, address: int, words: Sequence[int]) -> None:
        self._send(self._wire.WishboneRequest(self._wire.WishboneOp.WRITE, 4 * address, data=words).to_bytes())
        self._wire.WishboneResponse.from_bytes(self._receive(4))

    def scatter(self, addresses: Sequence[int]) -> list[int]:
        return [self.read_one(address) for address in addresses]

    def cpu_s(self) -> float:
        return 0.0

    def close(self) -> None:
        os.close(self._fd)
