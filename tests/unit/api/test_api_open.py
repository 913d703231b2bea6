"""A lab that asks for no keys (`LUTLAB_AUTH_ENABLED=false`), as the contract has it for one's own machine."""

from __future__ import annotations

import pytest
from api_fakes import ADA, Lab, error_of, job
from test_api_stream import refusal, serving
from test_api_verification import FILES, make, submit

from lutlab_api.app.auth import ANONYMOUS
from lutlab_events.commands import SubmitBuild
from lutlab_events.values import JobStatus


@pytest.fixture
def lab() -> Lab:
    lab = Lab(auth_enabled=False, limit_jobs_per_hour=2)
    lab.ledger.add(job(1, owner=ANONYMOUS.owner), job(2, status=JobStatus.RUNNING))
    return lab


@pytest.mark.parametrize("public_reads", [True, False])
async def test_whoever_sends_no_key_is_one_and_the_same_member(public_reads: bool) -> None:
    lab = Lab(auth_enabled=False, public_reads=public_reads, limit_jobs_per_hour=2)
    lab.ledger.add(job(1, owner=ANONYMOUS.owner), job(2))
    async with lab.client(None) as nobody:
        assert [entry["owner"] for entry in (await nobody.get("/jobs")).json()] == ["anonymous"]
        files = {"file": ("design.v", b"module m; endmodule")}
        assert (await nobody.post("/submit", files=files)).status_code == 202
        assert lab.last(SubmitBuild).owner == "anonymous"
        project = await make(nobody, FILES)
        url = (await submit(nobody, project)).json()["url"]
        assert (await nobody.get(url)).status_code == 200
        assert [(await submit(nobody, project)).status_code for _ in range(2)] == [202, 429]
        for path in ("/auth/keys", "/api/v1/deadletters"):
            assert error_of(await nobody.get(path))[:2] == (403, "admin_only")


async def test_keys_are_still_looked_at_and_made_with_keys_only(lab: Lab) -> None:
    async with lab.client(ADA) as ada, lab.client("wrong") as wrong, lab.client(None) as nobody:
        assert [entry["owner"] for entry in (await ada.get("/jobs")).json()] == ["ada"]
        assert error_of(await wrong.get("/jobs"))[:2] == (401, "invalid_api_key")
        for path in ("/auth/keys", "/api/v1/keys"):
            assert error_of(await nobody.post(path, json={"owner": "anonymous"}))[:2] == (401, "missing_api_key")


async def test_pages_of_other_sites_must_not_act(lab: Lab) -> None:
    """A browser lets every page send forms to this machine."""
    files = {"file": ("design.v", b"module m; endmodule")}
    async with lab.client(None) as nobody, lab.client(ADA) as ada:
        for origin, status in (
            ("http://lab", 202),
            ("https://evil.example", 401),
            ("null", 401),
            ("http://lab:81", 401),
        ):
            answer = await nobody.post("/submit", files=files, headers={"Origin": origin})
            assert answer.status_code == status, origin
        assert (await ada.post("/submit", files=files, headers={"Origin": "https://evil.example"})).status_code == 202


async def test_streams_are_as_open(lab: Lab) -> None:
    async with serving(lab) as url:
        status, body = await refusal(url, 3, key="")
        assert (status, "fpga_not_found" in body) == (404, True)
