"""HEAD wherever there is GET; what is answered at paths and with methods that are not there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from api_fakes import ROOT, SESSION, Lab, error_of, job, reserved

VALUES = {"fpga_id": "0", "job_id": str(UUID(int=1)), "session_id": str(SESSION), "key_id": "me", "name": "build.log"}
ENDLESS = "/api/v1/events/stream"
VARYING = frozenset({"x-request-id", "x-ratelimit-remaining"})


def gets(lab: Lab) -> list[str]:
    """Every path that is documented to be read."""
    return [path for path, methods in lab.app.openapi()["paths"].items() if "get" in methods]


async def test_head_is_get_without_the_body(lab: Lab) -> None:
    lab.ledger.add(reserved(), job(1))
    async with lab.client(ROOT) as client:
        for path in gets(lab):
            url = re.sub(r"{(\w+)}", lambda found: VALUES.get(found[1], "x"), path)
            head = await asyncio.wait_for(client.head(url), 5)
            assert head.content == b"", url
            assert head.headers["X-Request-ID"], url
            if path != ENDLESS:
                get = await client.get(url)
                assert head.status_code == get.status_code, url
                told, wanted = ({n: v for n, v in a.headers.items() if n not in VARYING} for a in (head, get))
                assert told == wanted, url
        assert [(await client.head(path)).status_code for path in ("/", "/docs", "/openapi.json")] == [307, 200, 200]


async def test_head_ends_what_has_no_end(lab: Lab, ada: httpx.AsyncClient) -> None:
    for path, accept in ((ENDLESS, "*/*"), ("/api/v1/events", "text/event-stream")):
        answer = await asyncio.wait_for(ada.head(path, headers={"Accept": accept}), 5)
        assert (answer.status_code, answer.content) == (200, b""), path
        assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert lab.services.follower.followers == 0


async def test_head_counts_as_get_but_is_told_as_head(
    lab: Lab, ada: httpx.AsyncClient, logged: list[MutableMapping[str, Any]]
) -> None:
    lab.ledger.add(job(1))
    answer = await ada.head(f"/api/v1/jobs/{UUID(int=1)}/result")
    assert answer.headers["X-RateLimit-Limit"] == str(lab.settings.limit_results_per_minute)
    handled = next(entry for entry in logged if entry["event"] == "http_request_handled")
    assert (handled["method"], handled["status"]) == ("HEAD", 200)
    assert 'method="HEAD",route="/api/v1/jobs/{job_id}/result"' in (await ada.get("/metrics")).text


async def test_the_document_does_not_speak_of_head(lab: Lab) -> None:
    assert not [path for path, methods in lab.app.openapi()["paths"].items() if "head" in methods]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/api/v1/projects/proj_1", "DELETE, GET, HEAD, PUT"),
        ("PUT", "/api/v1/boards/0", "DELETE, GET, HEAD"),
        ("POST", "/jobs/x", "DELETE, GET, HEAD"),
        ("GET", "/submit", "POST"),
    ],
)
async def test_405_names_every_method(ada: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    answer = await ada.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert allowed in error_of(answer)[2]


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/nowhere", "/api/v1/projects/proj_1/nowhere", "/api/v1/keys/a/b"])
async def test_unknown_paths_of_the_contract_have_its_code(ada: httpx.AsyncClient, path: str) -> None:
    answer = await ada.get(path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["details"]) == ("NOT_FOUND", {"reason": "not_found"})
    assert path in error["message"]


async def test_a_long_path_is_not_sent_back(ada: httpx.AsyncClient) -> None:
    for path in ("/" + "x" * 30_000, "/api/v1/" + "y" * 30_000, "/fpga/" + "1" * 5_000):
        answer = await ada.get(path)
        assert answer.status_code in (404, 422)
        assert len(answer.text) < 600, path[:20]


@pytest.mark.parametrize("path", ["/fpga/0/stream", f"/api/v1/jobs/{UUID(int=1)}/stream"])
async def test_a_websocket_without_an_upgrade_is_named(ada: httpx.AsyncClient, path: str) -> None:
    answer = await ada.get(path)
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert "WebSocket" in error_of(answer)[2]
