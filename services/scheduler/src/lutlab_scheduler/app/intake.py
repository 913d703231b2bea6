"""What happens to a command from outside before it is decided: the blobs it speaks of are brought to safety.

A report that a bitstream exists is only decided once the bitstream is in Postgres. So whatever the ledger knows to be
built can be loaded into a board even if NATS is wiped the moment after. If the bitstream is not in NATS, NATS was wiped
between the builder's upload and its report; the build then starts over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from lutlab_events import codec
from lutlab_events import commands as c
from lutlab_events import verification as v
from lutlab_events.commands import Command
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.values import Json
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.ports import Archive, Blobs, BlobUnavailable, Unstorable

BLOBS_AT_ONCE = 8
"""Blobs in memory on their way to the archive: after an outage, hundreds of reports wait at once."""


DEPTH_MAX = 50
"""How deeply what a command brings in free form may be nested. Decoders stop somewhere below a thousand levels, each
reader of the log somewhere else, and what is in the log must be readable for all of them for ever."""
NUL, REPLACED = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000"), rb"\1\\ufffd"
"""A NUL in JSON, and what it becomes: the log could hold it, but whoever asks Postgres for something in that JSON would
get an error instead."""


def readable(envelope: CommandEnvelope) -> CommandEnvelope:
    """A command whose free form can be read by all who read the log; mostly the same. Raises: Unstorable."""
    body = envelope.body
    match body:
        case c.ReportBuildSucceeded(report=found) | v.SubmitVerification(config_overrides=found):
            pass
        case v.ReportStageCompleted():
            found = body.outcome.summary
        case _:
            return envelope
    if _is_deep(found):
        raise Unstorable(f"{type(body).__name__} is nested deeper than {DEPTH_MAX} levels")
    data = codec.encode(envelope)
    return codec.decode_command(NUL.sub(REPLACED, data)) if NUL.search(data) else envelope


def _is_deep(value: Json) -> bool:
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        inner = [each for each in level if isinstance(each, dict | list)]
        if not inner:
            return False
        level = [found for each in inner for found in (each.values() if isinstance(each, dict) else each)]
    return True


class Intake:
    """Prepares commands for the writer."""

    def __init__(
        self,
        archive: Archive,
        blobs: Blobs,
        carrier: Carrier,
        instead: Callable[[Command], Command] = lambda body: body,
    ) -> None:
        """
        Args:
            instead: the report to take in place of one whose results have no room; they are not archived then. The
                writer decides about this for good, this only keeps out what is too much already.
        """
        self._instead = instead
        self._archive = archive
        self._blobs = blobs
        self._carrier = carrier
        self._hands = asyncio.Semaphore(BLOBS_AT_ONCE)
        self._doors: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def prepare(self, envelope: CommandEnvelope) -> CommandEnvelope:
        """The command to decide instead of this one; mostly the same.

        Raises:
            BlobUnavailable: a base design is not there; let the report come again.
            Unstorable: not everybody who reads the log could read it.
            BusUnavailable, StoreUnavailable: not now.
        """
        envelope = readable(envelope)
        body = self._instead(envelope.body)
        if body is not envelope.body:
            return msgspec.structs.replace(envelope, body=body)
        if isinstance(body, v.ReportStageCompleted):
            return await self._prepare_stage(envelope, body)
        if not isinstance(body, c.ReportBuildSucceeded | c.ReportBaseBuilt):
            return envelope
        try:
            await self._archive_blob(body.bitstream.digest)
        except BlobUnavailable as error:
            if isinstance(body, c.ReportBaseBuilt):
                raise
            retry = c.RetryBuild(job_id=body.job_id, attempt=body.attempt, reason=str(error))
            return msgspec.structs.replace(envelope, body=retry)
        return envelope

    async def _prepare_stage(self, envelope: CommandEnvelope, body: v.ReportStageCompleted) -> CommandEnvelope:
        """A stage's details and artifacts are brought to safety; if one of them was lost, the stage runs again."""
        outcome = body.outcome
        digests = [artifact.digest for artifact in outcome.artifacts]
        try:
            for digest in [outcome.details_digest, *digests] if outcome.details_digest else digests:
                await self._take_over(digest)
        except BlobUnavailable as error:
            retry = v.RetryStage(job_id=body.job_id, stage=body.stage, attempt=body.attempt, reason=str(error))
            return msgspec.structs.replace(envelope, body=retry)
        return envelope

    @asynccontextmanager
    async def _alone_with(self, digest: str) -> AsyncIterator[None]:
        """For the length of the block nobody else fetches this blob, or takes it out of NATS, and few fetch any."""
        door = self._doors.setdefault(digest, asyncio.Lock())
        async with door, self._hands:
            yield

    async def _take_over(self, digest: str) -> None:
        """Archive a blob that nobody will ask NATS for again, and make room there for others."""
        async with self._alone_with(digest):
            if await self._archive.has(digest):
                return
            await self._archive.put(digest, await self._blobs.get(digest))
            await self._carrier.take_over(digest)  # it may be a file of a project too

    async def _archive_blob(self, digest: str) -> None:
        async with self._alone_with(digest):
            if await self._archive.has(digest):
                return
            data = await self._blobs.get(digest)
            # Before it is archived: from then on it may be taken out of NATS again, which makes the carrier forget it.
            self._carrier.note(digest)
            await self._archive.put(digest, data)
