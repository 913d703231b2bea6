"""Boards behind the API's port `Bus`: a design with an echo memory that answers."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from lutlab_api.domain.errors import ApiError
from lutlab_bus import LinkCounters, Modify, Operation, Poll, Result, Status, Write, batch
from lutlab_bus.operations import as_words
from lutlab_events.busmsg import BridgeWay, BusHeaders, BusReply, BusStatus, BusVerb

ERROR_FRAME = b"\x01\0\0\0"
WAY = BridgeWay(host="10.1.1.1", port=1234, token="ab" * 32)
STATS = {
    "open": True,
    "in_step": True,
    "device": None,
    "line_baud": 12_500_000,
    "latency_timer": {"found_ms": 16, "now_ms": 1, "problem": ""},
    "counters": LinkCounters(frames=7, retries=1).as_dict(),
}


SIGNALS = {"led0": 1, "count": 16}
PINS = [{"name": "led0", "pin": "B2", "way": "out", "level": 1}]


@dataclass
class FakeBus:
    """Agents with one echo memory of 512 words each; `script` may answer instead."""

    memory: dict[int, int] = field(default_factory=dict)
    seen: list[tuple[str, BusHeaders, bytes]] = field(default_factory=list)
    script: Callable[[BusHeaders, bytes], BusReply | ApiError | None] = lambda headers, frame: None
    holder: str = ""
    delay_s: float = 0.0
    under_way: int = 0
    under_way_max: int = 0

    async def request(self, agent_id: str, headers: BusHeaders, frame: bytes, timeout_s: float) -> BusReply:
        self.seen.append((agent_id, headers, frame))
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        try:
            if self.delay_s and headers.verb is BusVerb.EXCHANGE:
                await asyncio.sleep(self.delay_s)
        finally:
            self.under_way -= 1
        scripted = self.script(headers, frame)
        if isinstance(scripted, ApiError):
            raise scripted
        return scripted or self._answer(headers, frame)

    def _answer(self, headers: BusHeaders, frame: bytes) -> BusReply:
        if headers.verb is BusVerb.EXCHANGE:
            return BusReply(status=BusStatus.OK, frame=self.exchange(frame))
        if headers.verb is BusVerb.BATCH:
            return BusReply(
                status=BusStatus.OK, frame=batch.encode_results([self._do(op) for op in batch.decode(frame)])
            )
        if headers.verb is BusVerb.BRIDGE:
            return BusReply(status=BusStatus.OK, frame=msgspec.json.encode(WAY))
        if headers.verb is BusVerb.STATS:
            return BusReply(status=BusStatus.OK, frame=json.dumps(STATS).encode())
        if headers.verb in (BusVerb.PINS, BusVerb.DRIVE):
            return BusReply(status=BusStatus.OK, frame=json.dumps(PINS).encode())
        if headers.verb is BusVerb.SIGNALS:
            return BusReply(status=BusStatus.OK, frame=json.dumps(SIGNALS).encode())
        if headers.verb is BusVerb.CAPTURE:
            return BusReply(status=BusStatus.OK, frame=b"$timescale 1 ps $end")
        if headers.verb is BusVerb.OPEN:
            if self.holder:
                return BusReply(status=BusStatus.BUSY)
            self.holder = headers.stream_id
        elif headers.verb is BusVerb.CLOSE and self.holder == headers.stream_id:
            self.holder = ""
        return BusReply(status=BusStatus.OK)

    def _do(self, op: Operation) -> Result:
        if isinstance(op, Write):
            for i, word in enumerate(op.words):
                self.memory[op.address_words + (0 if op.fixed else i)] = word
            return Result(Status.OK)
        at = [op.address_words + (0 if getattr(op, "fixed", False) else i) for i in range(op.count)]
        words = [self.memory.get(each, 0) for each in at]
        if isinstance(op, Modify):
            self.memory[op.address_words] = (words[0] & ~op.mask) | (op.value & op.mask)
        met = not isinstance(op, Poll) or not (words[0] ^ op.value) & op.mask
        return Result(Status.OK if met else Status.POLL_TIMEOUT, as_words(words))

    def exchange(self, frame: bytes) -> bytes:
        if len(frame) < 12:
            return ERROR_FRAME
        head, address, *words = struct.unpack(f">{len(frame) // 4}I", frame[: len(frame) // 4 * 4])
        index = address // 4
        if head >> 24 == 2:
            values = [self.memory.get(index + i, 0) for i in range(words[0])]
            return struct.pack(f">{1 + len(values)}I", len(values), *values)
        for i, word in enumerate(words):
            self.memory[index if head >> 31 else index + i] = word
        return bytes(4)

    def verbs(self) -> list[str]:
        return [headers.verb.value for _, headers, _ in self.seen]
