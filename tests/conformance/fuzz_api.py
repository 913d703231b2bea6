"""`make fuzz-api`: at least 20,000 requests made from the OpenAPI document, against the shipped services.

Not collected by `make test`; `LUTLAB_FUZZ_CASES` asks for another number, `LUTLAB_FUZZ_ONLY` for operations whose label
(`POST /auth/keys`) contains one of some texts, separated by commas.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "unit" / "api"), str(ROOT / "integration" / "api")]

from api_fuzz import Fuzz, operations  # noqa: E402 - found by the line above
from api_whole import ADMIN_KEY, hands, whole  # noqa: E402

CASES = int(os.environ.get("LUTLAB_FUZZ_CASES", "20000"))
ONLY = os.environ.get("LUTLAB_FUZZ_ONLY", "")
UNLIMITED = str(10**9)
SETTINGS = {
    "LUTLAB_FAILED_ATTEMPTS_MAX": UNLIMITED,
    "LUTLAB_LIMIT_REQUESTS_PER_MINUTE": UNLIMITED,
    "LUTLAB_LIMIT_JOBS_PER_HOUR": UNLIMITED,
    "LUTLAB_LIMIT_SUBMITS_PER_HOUR": UNLIMITED,
    "LUTLAB_LIMIT_RESULTS_PER_MINUTE": UNLIMITED,
    "LUTLAB_WAIT_S_MAX": "0",
    "LUTLAB_LOG_LEVEL": "WARNING",
}


class Keys:
    """An admin's key for the requests, made anew when one of them has revoked or rotated it."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"X-API-Key": ADMIN_KEY}, timeout=20)
        self._key = ""

    def __call__(self) -> str:
        if not self._key or self._client.get("/auth/keys/me", headers={"X-API-Key": self._key}).status_code != 200:
            answer = self._client.post("/auth/keys", json={"owner": "fuzz", "role": "admin"})
            self._key = answer.raise_for_status().json()["api_key"]
        return self._key

    def known(self) -> dict[str, list[str]]:
        """Things that exist just now: some jobs, boards, sessions, and keys that may be revoked."""
        jobs = self._client.get("/api/v1/jobs?owner=*&per_page=20").json()["jobs"]
        sessions = self._client.get("/api/v1/sessions").json()["sessions"]
        keys = [k for k in self._client.get("/api/v1/keys?per_page=9").json()["keys"] if k["owner"] == "fuzz"]
        return {
            "job_id": [job["job_id"] for job in jobs],
            "fpga_id": ["0", "1", "2", "3"],
            "session_id": [session["session_id"] for session in sessions],
            "key_id": [key["key_id"] for key in keys],
            "agent_id": ["bench"],
            "name": ["source", "bitstream.bit", "report.json", "build.log"],
        }

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _play(nats_url: str, stop: threading.Event) -> None:
    async def play() -> None:
        async with hands(nats_url, boards=4):
            await asyncio.to_thread(stop.wait)

    asyncio.run(play())


@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_every_answer_of_the_shipped_api_is_documented(postgres_url: str, nats_url: str, tmp_path: Path) -> None:
    with whole(postgres_url, nats_url, tmp_path, **SETTINGS) as lab:
        stop = threading.Event()
        player = threading.Thread(target=_play, args=(nats_url, stop))
        player.start()
        try:
            document = httpx.get(f"{lab.url()}/openapi.json", timeout=20).json()
            # Operations without parameters send one request each; the others make up for it.
            count = sum(any(part in operation.label for part in ONLY.split(",")) for operation in operations(document))
            examples = int(CASES / count * 1.3)
            with closing(Keys(lab.url())) as keys:
                run = Fuzz(lab.url(), keys, keys.known)
                run.run(document, examples, ONLY)
        finally:
            stop.set()
            player.join(30)
    statuses = run.statuses
    print(f"{sum(statuses.values())} requests:", dict(sorted(statuses.items())))
    assert sum(statuses.values()) >= CASES, statuses
    assert "Traceback" not in lab.apis[0].log.read_text()
