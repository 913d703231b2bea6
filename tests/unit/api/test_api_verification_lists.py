"""Lists of projects and of their jobs, page by page; requests about them that make no sense."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest
from test_api_verification import FILES, NEW, make, refusal, submit

from lutlab_api.web.paging import cursor_of


async def pages(
    client: httpx.AsyncClient, path: str, meanwhile: Callable[[], Awaitable[object]], **query: str
) -> list[str]:
    """Names or ids on pages of two, by cursor; `meanwhile` is done after the first page."""
    seen: list[str] = []
    query["per_page"] = "2"
    while True:
        page = (await client.get(path, params=query)).json()
        seen += [entry.get("name") or entry["job_id"] for entry in page.get("projects", page.get("jobs"))]
        if page["next_cursor"] is None:
            return seen
        if "cursor" not in query:
            await meanwhile()
        query["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"])
async def test_pages_of_projects_are_not_shifted(ada: httpx.AsyncClient, sort: str) -> None:
    made = [await make(ada, name=name) for name in ("m1", "m2", "m3", "m4")]
    first = made[0] if sort in ("name", "-created_at", "-updated_at") else made[3]

    async def meanwhile() -> None:
        await make(ada, name="a-new-one" if sort == "name" else "z-new-one")
        assert (await ada.delete(f"/api/v1/projects/{first}")).status_code == 204

    seen = await pages(ada, "/api/v1/projects", meanwhile, sort=sort)
    wanted = ["m1", "m2", "m3", "m4"]
    wanted = wanted if first == made[0] else wanted[::-1]
    assert seen == wanted + (["z-new-one"] if sort in ("-created_at", "-updated_at") else [])


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("created_at", "2026-01-01"),
        ("created_at", "9999-12-31T23:59:59-14:00"),
        ("created_at", "x"),
        ("name", "a\0"),
        ("name", "\ud800"),
        ("name", 1),
        ("-name", "of another order"),
    ],
)
async def test_cursors_that_were_made_up(ada: httpx.AsyncClient, sort: str, value: object) -> None:
    cursor = cursor_of(json.dumps([sort, value, UUID(int=1).hex]))
    answer = await ada.get("/api/v1/projects", params={"sort": sort.removeprefix("-"), "cursor": cursor})
    assert refusal(answer)[:2] == (400, "VALIDATION_ERROR")
    assert refusal(answer)[2] == {"field": "cursor", "reason": "invalid_cursor"}


async def test_pages_of_jobs_are_not_shifted(ada: httpx.AsyncClient) -> None:
    project = await make(ada, FILES)
    jobs = [(await submit(ada, project)).json()["job_id"] for _ in range(3)]

    async def meanwhile() -> None:
        assert (await ada.post(f"/api/v1/jobs/{jobs[2]}/cancel")).status_code == 200
        assert (await submit(ada, project)).status_code == 202

    assert await pages(ada, f"/api/v1/projects/{project}/jobs", meanwhile) == jobs[::-1]


@pytest.mark.parametrize(
    "overrides",
    [
        '{"verification.simulation.plusargs": {"depth": NaN}}',
        '{"verification.simulation.plusargs": {"depth": -Infinity}}',
        '{"verification.simulation.plusargs": {"\\ud800": 1}}',
        '{"verification.simulation.plusargs": {"depth": "\\ud800"}}',
        '{"\\ud800": 1}',
        '{"' + "x" * 20_000 + '": 1}',
    ],
)
async def test_overrides_that_are_no_json_are_refused(ada: httpx.AsyncClient, overrides: str) -> None:
    """Python's parser takes them."""
    project = await make(ada, FILES)
    body = f'{{"stages": ["lint"], "config_overrides": {overrides}}}'
    headers = {"Content-Type": "application/json"}
    answer = await ada.post(f"/api/v1/projects/{project}/jobs", content=body.encode(), headers=headers)
    status, code, details = refusal(answer)
    assert (status, code, details["field"]) == (400, "VALIDATION_ERROR", "config_overrides")
    assert len(answer.text) < 500


async def test_the_character_that_no_database_takes_is_refused(ada: httpx.AsyncClient) -> None:
    project = await make(ada)
    answers = [
        await ada.post("/api/v1/projects", json=NEW | {"name": "other", "description": "a\0"}),
        await ada.put(f"/api/v1/projects/{project}", json={"description": "\0"}),
        await ada.get("/api/v1/projects", params={"name": "a\0"}),
    ]
    for answer in answers:
        assert refusal(answer)[0] == 400
        assert "NUL" in answer.json()["error"]["message"]
