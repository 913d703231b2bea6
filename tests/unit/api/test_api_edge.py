"""What holds for every request: error form, request ids, limits, health, the document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from api_fakes import ADA, Lab, board, error_of

from lutlab_api.app.ports import MessagingHealth
from lutlab_api.domain.errors import Code
from lutlab_api.web import errors
from lutlab_api.web.errors import describe
from lutlab_api.web.status import MEANINGS, status_of
from lutlab_events.commands import ResetBoard
from lutlab_events.rejections import Rejection


def test_every_code_has_a_status() -> None:
    codes = {*Code, *Rejection}
    assert codes == set(MEANINGS)
    assert {status_of(code) for code in codes} == {
        400,
        401,
        403,
        404,
        405,
        409,
        413,
        422,
        426,
        429,
        431,
        500,
        502,
        503,
        504,
    }
    assert status_of("never_heard_of") == 500


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/nowhere/at/all", 404, "not_found"),
        ("GET", "/fpga/0/run", 405, "method_not_allowed"),
        ("PUT", "/fpga", 405, "method_not_allowed"),
        ("DELETE", "/health", 405, "method_not_allowed"),
    ],
)
async def test_unknown_routes(ada: httpx.AsyncClient, method: str, path: str, status: int, code: str) -> None:
    answer = await ada.request(method, path)
    assert error_of(answer)[:2] == (status, code)
    assert path in error_of(answer)[2]
    assert ("Allow" in answer.headers) == (status == 405)


async def test_a_bug_is_a_500_without_a_stack_trace(
    lab: Lab,
    ada: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[MutableMapping[str, Any]],
) -> None:
    async def broken() -> list[object]:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(lab.ledger, "boards", broken)
    answer = await ada.get("/fpga", headers={"X-Request-ID": "my-id"})
    status, code, message = error_of(answer)
    assert (status, code) == (500, "internal_error")
    assert "my-id" in message
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Request-ID"] == "my-id"
    assert [(e["event"], e.get("status")) for e in logged] == [("request_failed", None), ("http_request_handled", 500)]


async def test_request_ids_come_back_and_correlate(lab: Lab, ada: httpx.AsyncClient) -> None:
    async def reset(**headers: str) -> tuple[str, UUID]:
        answer = await ada.post("/fpga/0/reset", headers=headers)
        assert answer.status_code == 202
        return answer.headers["X-Request-ID"], lab.commands.sent[-1].correlation_id

    mine = UUID(int=12345)
    assert await reset(**{"X-Request-ID": str(mine)}) == (str(mine), mine)
    shown, correlation_id = await reset(**{"X-Request-ID": "trace-7"})
    assert shown == "trace-7"
    shown, other = await reset()
    assert UUID(shown) == other != correlation_id
    shown, other = await reset(**{"X-Request-ID": "a b"})
    assert UUID(shown) == other


@pytest.mark.parametrize("what", ["commands", "ledger"])
async def test_503_says_when_to_try_again(lab: Lab, ada: httpx.AsyncClient, what: str) -> None:
    getattr(lab, what).is_down = True
    answer = await ada.post("/fpga/0/reset")
    assert error_of(answer)[:2] == (503, "scheduler_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_rejections_keep_their_code_and_message(lab: Lab, ada: httpx.AsyncClient) -> None:
    for rejection in set(Rejection) - {Rejection.UNDECIDABLE}:
        lab.commands.rejections[ResetBoard] = rejection
        status, code, message = error_of(await ada.post("/fpga/0/reset"))
        assert (status, code, message) == (status_of(rejection), rejection, f"no: {rejection}")


async def test_what_the_scheduler_failed_on_is_a_500_without_details(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.commands.rejections[ResetBoard] = Rejection.UNDECIDABLE
    status, code, message = error_of(await ada.post("/fpga/0/reset"))
    assert (status, code) == (500, "undecidable")
    assert "no:" not in message


async def test_a_json_body_is_limited(lab: Lab, ada: httpx.AsyncClient) -> None:
    lab.ledger.add(board(0))
    big = b'{"op": 1, "address": 0, "data": [' + b"1," * 200_000 + b"1]}"
    answer = await ada.post("/fpga/0/run", content=big, headers={"Content-Type": "application/json"})
    assert error_of(answer)[:2] == (413, "body_too_large")
    assert answer.headers["Connection"] == "close"

    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while pulled < 1000:
            pulled += 1
            yield b" " * 65536

    answer = await ada.post("/fpga/0/run", content=endless(), headers={"Content-Type": "application/json"})
    assert error_of(answer)[:2] == (413, "body_too_large")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"{", "JSON"), (b"", "missing"), (b"[1]", "dictionary"), (b'{"op": 1}', "address is missing")],
)
async def test_bodies_that_are_not_what_they_should_be(
    lab: Lab, ada: httpx.AsyncClient, content: bytes, word: str
) -> None:
    lab.ledger.add(board(0))
    answer = await ada.post("/fpga/0/run", content=content, headers={"Content-Type": "application/json"})
    status, code, message = error_of(answer)
    assert (status, code) == (422, "validation_error")
    assert word in message


async def test_a_forgotten_content_type_is_named(lab: Lab, ada: httpx.AsyncClient) -> None:
    """`curl -d` sends a form unless told otherwise."""
    lab.ledger.add(board(0))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await ada.post("/fpga/0/run", content=b'{"op": 1, "address": 0, "data": [1]}', headers=headers)
    assert error_of(answer)[:2] == (422, "validation_error")
    assert "application/json" in error_of(answer)[2]


def test_long_lists_of_problems_are_cut() -> None:
    problems: list[dict[str, Any]] = [
        {"type": "int_type", "loc": ("body", "data", n), "msg": "Input should be an int", "input": "x" * 500}
        for n in range(9)
    ]
    text = describe(problems)
    assert "data.0 'xxx" in text
    assert "and 4 more" in text
    assert len(text) < 1000


async def test_health(lab: Lab) -> None:
    async with lab.client(None) as client:
        told = (await client.get("/health")).json()
        assert told["status"] == "ok"
        assert told["redis"] is told["nats"] is told["postgres"] is told["scheduler"] is True
        assert told["version"]
        lab.messaging.state = MessagingHealth(nats=True, scheduler=False, commands_waiting=7)
        told = (await client.get("/health")).json()
        assert (told["status"], told["redis"], told["scheduler"], told["commands_waiting"]) == (
            "degraded",
            True,
            False,
            7,
        )
        lab.messaging.state = MessagingHealth(nats=False, scheduler=False)
        lab.ledger.is_down = True
        answer = await client.get("/health")
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["redis"], answer.json()["postgres"]) == (
            "degraded",
            False,
            False,
        )


async def test_the_document_is_complete(lab: Lab) -> None:
    async with lab.client(None) as client:
        assert (await client.get("/docs")).status_code == 200
        document = (await client.get("/openapi.json")).json()
    operations = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {
        ("GET", "/health"),
        ("GET", "/fpga"),
        ("GET", "/fpga/{fpga_id}"),
        ("POST", "/submit"),
        ("POST", "/fpga/{fpga_id}/submit"),
        ("POST", "/fpga/{fpga_id}/run"),
        ("POST", "/fpga/{fpga_id}/reset"),
        ("GET", "/fpga/{fpga_id}/session"),
        ("POST", "/fpga/{fpga_id}/session/release"),
        ("GET", "/jobs"),
        *((method, base + "/jobs/{job_id}") for method in ("GET", "DELETE") for base in ("", "/fpga/{fpga_id}")),
        *(("GET", base + "/jobs/{job_id}" + tail) for tail in ("/logs", "/result") for base in ("", "/fpga/{fpga_id}")),
        ("POST", "/auth/keys"),
        ("DELETE", "/auth/keys/me"),
        ("GET", "/api/v1/boards/{fpga_id}/events"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/jobs/{job_id}"),
    } <= set(operations)
    for (method, path), operation in operations.items():
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert "HTTPValidationError" not in str(operation), where
        if path in {"/health", "/api/v1/health", "/ready"}:
            continue
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert ("ErrorV1" if path.startswith("/api/v1/") else "ErrorBody") in str(response), (where, status)
                assert response["content"]["application/json"]["examples"], (where, status)
        if path != "/auth/github/exchange":
            assert operation["security"], where
            assert {"401", "503", "500"} <= set(operation["responses"]), where
        if method == "POST" and path not in {"/auth/github/exchange", "/api/v1/jobs/{job_id}/reports"}:
            assert "idempotency-key" in {p["name"].lower() for p in operation["parameters"]}, where
    submit = operations["POST", "/submit"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    wishes = {"labels", "priority"}
    assert set(submit["properties"]) == {"file", "top", "sys_clk_freq", "timing_target_mhz", "profile"} | wishes
    assert set(operations["GET", "/jobs/{job_id}/logs"]["responses"]["200"]["content"]) == {"text/plain"}


async def test_every_answered_code_is_documented_for_its_route(lab: Lab, ada: httpx.AsyncClient) -> None:
    """The statuses that the other tests provoke on `run` are in the document."""
    document = lab.app.openapi()["paths"]["/fpga/{fpga_id}/run"]["post"]["responses"]
    documented = {code for r in document.values() for code in _examples(r)}
    assert {
        "invalid_op",
        "invalid_address",
        "invalid_count",
        "invalid_data",
        "fpga_not_reserved",
        "not_your_session",
        "fpga_not_found",
        "board_link_failed",
        "board_timeout",
        "board_unreachable",
        "idempotency_mismatch",
        "body_too_large",
    } <= documented
    assert ADA not in str(document)


def _examples(response: dict[str, Any]) -> set[str]:
    return set(response.get("content", {}).get("application/json", {}).get("examples", {}))


MANY = 20_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/fpga/0/run", {"op": 1, "address": 0, "data": ["x"] * MANY}),
        ("/api/v1/boards/0/run", {"ops": [{}] * MANY}),
        ("/api/v1/boards/0/run", {"ops": [{"op": 1, "address": 0, "data": ["x"] * 1000}] * 20}),
        ("/api/v1/keys", {"owner": "ada", "scopes": ["x"] * MANY}),
        ("/api/v1/webhooks", {"url": "https://example.org", "events": ["x"] * MANY}),
        ("/fpga/0/capture", {"cycles": 1, "signals": [1] * MANY}),
        ("/fpga/0/pins", {"pins": {f"p{n}": 2 for n in range(MANY)}}),
        ("/api/v1/projects/proj_1/jobs", {"stages": ["x"] * MANY}),
        ("/api/v1/jobs/job_1/reports", {"format": "json", "include": ["x"] * MANY}),
    ],
)
async def test_a_body_full_of_mistakes_is_not_looked_at_to_its_end(
    lab: Lab, ada: httpx.AsyncClient, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telling every one of them apart takes a second in which nobody else is answered."""
    counts: list[int] = []

    def counted(problems: Sequence[Mapping[str, Any]], fields: Sequence[str] = ()) -> str:
        counts.append(len(problems))
        return describe(problems, fields)

    monkeypatch.setattr(errors, "describe", counted)
    answer = await ada.request("PUT" if path.endswith("pins") else "POST", path, json=body)
    assert answer.status_code in (400, 422)
    assert counts and counts[0] <= 10
