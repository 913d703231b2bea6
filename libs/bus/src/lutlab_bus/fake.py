"""A bridge and a board in memory, for tests of whatever sits on top of a link.

It is an independent reading of docs/bus-protocol.md: it shares constants with the framer but no code, and the golden
vectors run through it as well.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Callable, MutableMapping

from lutlab_bus import wire

BUFFER_BYTES_MAX = 1 << 20
"""Most reply bytes a `FakePort` holds for its reader."""


class BusErrorAt(Exception):
    """Raise it from a target's mapping to answer `err`."""


class BusSilentAt(Exception):
    """Raise it from a target's mapping to let the bus timeout strike."""


class FakeBridge:
    """Request bytes in, reply bytes out.

    Args:
        target: word address to word; reading a missing word gives 0.
        address_bits, build_id, clk_hz, queue_bytes, bus_timeout_cycles, silence_cycles: what hello tells.

    Attributes:
        transfers: every transfer: ("r" or "w", word address).
    """

    def __init__(
        self,
        target: MutableMapping[int, int] | None = None,
        *,
        address_bits: int = 9,
        build_id: int = 0,
        clk_hz: int = 50_000_000,
        queue_bytes: int = 4096,
        bus_timeout_cycles: int = 65_536,
        silence_cycles: int = 1 << 20,
    ) -> None:
        self.target: MutableMapping[int, int] = {} if target is None else target
        self.transfers: list[tuple[str, int]] = []
        self._address_bits = address_bits
        self._write_words_max = queue_bytes // wire.QUEUE_BYTES_PER_WRITE_WORD
        self._info = [
            wire.PROTOCOL_MAGIC << 16 | wire.PROTOCOL_VERSION,
            build_id,
            clk_hz,
            bus_timeout_cycles,
            silence_cycles,
            4 | address_bits << 16 | 32 << 24,
            queue_bytes | self._write_words_max << 16,
            0,
        ]
        self._pending = bytearray()
        self._flushing = False
        self._sync_run = 0
        self._status = wire.STATUS_OK

    def silence(self) -> None:
        """The line was silent for long: forget a broken or unfinished frame."""
        self._pending.clear()
        self._flushing = False

    def feed(self, data: bytes) -> bytes:
        """Take request bytes in any chunking; returns the replies they complete."""
        return b"".join(self._byte(byte) for byte in data)

    def _byte(self, byte: int) -> bytes:
        if self._flushing:
            self._sync_run = self._sync_run + 1 if byte == wire.SYNC else 0
            self._flushing = self._sync_run < wire.SYNC_RUN
            return b""
        if not self._pending and byte == wire.SYNC:
            return b""
        self._pending.append(byte)
        length = self._frame_length()
        if length is not None and len(self._pending) < length:
            return b""
        frame = bytes(self._pending)
        self._pending.clear()
        if length is None or crc_hqx(frame, wire.CRC_INIT) != 0:
            self._flushing, self._sync_run = True, 0
            return b""
        return self._run(frame)

    def _frame_length(self) -> int | None:
        """Bytes of the frame that begins here, as far as is known; None if none can begin like this."""
        op = self._pending[0]
        if op & 0xF0 != wire.Op.BASE or op & 0x09 == 0x09:
            return None
        if len(self._pending) < wire.HEADER_BYTES:
            return wire.HEADER_BYTES + 1
        count = int.from_bytes(self._pending[2:4], "little") + 1
        if not op & wire.Op.WRITE:
            return wire.REQUEST_OVERHEAD_BYTES
        if count > self._write_words_max:
            return None
        return wire.REQUEST_OVERHEAD_BYTES + 4 * count

    def _run(self, frame: bytes) -> bytes:
        op, tag = frame[0], frame[1]
        count = int.from_bytes(frame[2:4], "little") + 1
        address = int.from_bytes(frame[4:7], "little")
        if not op & wire.Op.CHAIN:
            self._status = wire.STATUS_OK
        reply = bytearray([tag])
        for index in range(count):
            at = address + (0 if op & wire.Op.FIXED else index)
            if op & wire.Op.WRITE:
                self._transfer(at, int.from_bytes(frame[7 + 4 * index : 11 + 4 * index], "little"))
            elif op & wire.Op.INFO:
                reply += self._info[at % wire.INFO_WORDS].to_bytes(4, "little")
            else:
                reply += self._transfer(at, None).to_bytes(4, "little")
        reply.append(self._status)
        return bytes(reply) + wire.CRC.pack(crc_hqx(reply, wire.CRC_INIT))

    def _transfer(self, address: int, word: int | None) -> int:
        """One bus transfer, or none after a fault; returns the word read."""
        if self._status != wire.STATUS_OK:
            return 0
        if address >> self._address_bits:
            self._status = wire.STATUS_BUS_ERROR
            return 0
        self.transfers.append(("r" if word is None else "w", address))
        try:
            if word is None:
                return self.target.get(address, 0)
            self.target[address] = word
        except BusErrorAt:
            self._status = wire.STATUS_BUS_ERROR
        except BusSilentAt:
            self._status = wire.STATUS_BUS_TIMEOUT
        return 0


class FakePort:
    """A `SerialPort` with a `FakeBridge` at its other end, on the running event loop.

    Args:
        bridge: the board.
        silence_s: when nothing was written for this long, the bridge forgets an unfinished frame.
        on_request, on_reply: change bytes on their way, for instance to lose or flip some.

    Attributes:
        lost: set it to True and the port behaves like an adapter that was pulled out.
    """

    def __init__(
        self,
        bridge: FakeBridge,
        *,
        silence_s: float = 0.01,
        on_request: Callable[[bytes], bytes] | None = None,
        on_reply: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.bridge = bridge
        self.on_request = on_request
        self.on_reply = on_reply
        self.lost = False
        self._silence_s = silence_s
        self._silence: asyncio.TimerHandle | None = None
        self._buffer = bytearray()
        self._arrived = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Let the bridge run the request at once."""
        if self.lost:
            raise OSError("the fake adapter was pulled out")
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(self._silence_s, self.bridge.silence)
        self.inject(self.bridge.feed(self.on_request(data) if self.on_request else data))

    def inject(self, data: bytes) -> None:
        """Let bytes arrive at the host."""
        self._buffer += self.on_reply(data) if self.on_reply else data
        assert len(self._buffer) <= BUFFER_BYTES_MAX, "nobody reads from this port"
        if self._buffer:
            self._arrived.set()

    def pull_out(self) -> None:
        """End the port; a waiting reader sees its end."""
        self.lost = True
        self._arrived.set()

    async def drain(self) -> None:
        """Nothing waits: the bridge took everything."""

    async def read(self, limit_bytes: int) -> bytes:
        """See `SerialPort`."""
        await self._arrived.wait()
        data = bytes(self._buffer[:limit_bytes])
        del self._buffer[:limit_bytes]
        if not self._buffer and not self.lost:
            self._arrived.clear()
        return data
