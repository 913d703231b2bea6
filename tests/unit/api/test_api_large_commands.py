"""Commands that no message holds are refused in words, instead of being unanswered for ever."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from api_fakes import FakeClock, FakeIds

from lutlab_api.adapters.messaging import AROUND_BYTES_MAX, NatsMessaging
from lutlab_api.domain.errors import Code, Invalid
from lutlab_events import codec
from lutlab_events.commands import Command
from lutlab_events.envelope import Answer
from lutlab_events.verification import FileRef, UploadFiles

BYTES_MAX = 1 << 20
IDENT = UUID(int=1)


class FakeNats:
    """A connection, and a scheduler that accepts everything."""

    is_connected = True
    max_payload = BYTES_MAX

    async def request(self, body: Command, **more: Any) -> Answer:
        return Answer(command_id=more["command_id"], code="ok")


async def ask(files: int) -> Answer:
    messaging = NatsMessaging("nats://nowhere", site="main", clock=FakeClock(), ids=FakeIds())
    messaging._client = messaging._commands = FakeNats()  # type: ignore[assignment]
    refs = {f"{n:04}" + "\U0001f600" * 196: FileRef(digest="a" * 64, size_bytes=1) for n in range(files)}
    body = UploadFiles(project_id=IDENT, owner="ada", files=refs)
    assert (len(codec.encode(body)) > BYTES_MAX - AROUND_BYTES_MAX) == (files == 2000)
    return await messaging.request(
        body, command_id=IDENT, actor="ada", correlation_id=IDENT, fingerprint="", timeout_s=1.0
    )


async def test_an_upload_of_too_long_paths_is_refused() -> None:
    assert (await ask(1000)).accepted
    with pytest.raises(Invalid, match="2000 files are too long together") as refused:
        await ask(2000)
    assert refused.value.code == Code.BODY_TOO_LARGE
