"""A lab that asks for no keys (`LUTLAB_AUTH_ENABLED=false`), as the contract has it for one's own machine."""

from __future__ import annotations

import pytest
from api_fakes import ADA, Lab, error_of, job
from test_api_stream import refusal, serving
from test_api_verification import FILES, make, submit

from lutlab_api.__main__ import refuse_to_be_open
from lutlab_api.app.auth import ANONYMOUS
from lutlab_api.settings import Settings
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
    async with lab.client(None, Host="localhost") as nobody:
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
    async with lab.client(ADA) as ada, lab.client("wrong") as wrong, lab.client(None, Host="localhost") as nobody:
        assert [entry["owner"] for entry in (await ada.get("/jobs")).json()] == ["ada"]
        assert error_of(await wrong.get("/jobs"))[:2] == (401, "invalid_api_key")
        for path in ("/auth/keys", "/api/v1/keys"):
            assert error_of(await nobody.post(path, json={"owner": "anonymous"}))[:2] == (401, "missing_api_key")


async def test_pages_of_other_sites_must_not_act(lab: Lab) -> None:
    """A browser lets every page send forms to this machine."""
    files = {"file": ("design.v", b"module m; endmodule")}
    async with lab.client(None, Host="localhost") as nobody, lab.client(ADA) as ada:
        for origin, status in (
            ("http://localhost", 202),
            ("https://evil.example", 401),
            ("null", 401),
            ("http://localhost:81", 401),
        ):
            answer = await nobody.post("/submit", files=files, headers={"Origin": origin})
            assert answer.status_code == status, origin
        assert (await ada.post("/submit", files=files, headers={"Origin": "https://evil.example"})).status_code == 202


async def test_streams_are_as_open(lab: Lab) -> None:
    async with serving(lab) as url:
        status, body = await refusal(url, 3, key="")
        assert (status, "fpga_not_found" in body) == (404, True)


async def test_names_that_other_sites_could_have_for_this_machine_are_refused() -> None:
    """DNS rebinding: a page's own name leads here, so that its origin fits."""
    lab = Lab(auth_enabled=False, open_hosts="lab.example, bench")
    async with lab.client(None) as nobody, lab.client(ADA) as ada:
        for host, status in {
            "evil.example:8000": 401,
            "lab": 401,
            "[": 401,
            "localhost.evil.example": 401,
            "127.0.0.1:8000": 200,
            "[::1]:8000": 200,
            "10.0.0.5": 200,
            "LOCALHOST:1": 200,
            "lab.localhost": 200,
            "lab.example:443": 200,
            "Bench": 200,
        }.items():
            assert (await nobody.get("/jobs", headers={"Host": host})).status_code == status, host
            assert (await ada.get("/jobs", headers={"Host": host})).status_code == 200
    async with Lab(auth_enabled=False, open_hosts="*").client(None) as nobody:
        assert (await nobody.get("/jobs", headers={"Host": "evil.example"})).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "lab.example", ""])
def test_it_starts_beyond_this_machine_only_if_told_so(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        refuse_to_be_open(Settings(auth_enabled=False, api_host=host))
    assert ended.value.code == 2
    assert f"{host!r} can be reached from other machines" in capsys.readouterr().err
    refuse_to_be_open(Settings(auth_enabled=False, api_host=host, open_hosts="localhost"))
    refuse_to_be_open(Settings(api_host=host))
    for own in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        refuse_to_be_open(Settings(auth_enabled=False, api_host=own))
