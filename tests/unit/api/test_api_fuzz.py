"""A short run of requests made from the OpenAPI document; the long one is `make fuzz-api`."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
import uvicorn
from api_fakes import ROOT, SESSION, Lab, board, job, reserved

from lutlab_events.values import Role
from lutlab_events.verification import (
    JOB_PREFIX,
    PROJECT_PREFIX,
    CancelVerification,
    CreateProject,
    StageOutcome,
    SubmitVerification,
    shown_id,
)

schemathesis = pytest.importorskip("schemathesis", reason="an optional development dependency")

from api_fuzz import Fuzz  # noqa: E402 - needs schemathesis

EXAMPLES = 4
START_TIMEOUT_S = 20


@pytest.fixture
def lab() -> Lab:
    limits = {"limit_jobs_per_hour": 10**9, "limit_submits_per_hour": 10**9, "limit_results_per_minute": 10**9}
    lab = Lab(failed_attempts_max=10**9, **limits)
    lab.ledger.add(board(0), reserved(1, owner="root"), job(1), job(2, owner="root"))
    lab.ledger.logs[UUID(int=1)] = "yosys was here\n"
    return lab


@pytest.fixture
def url(lab: Lab) -> Iterator[str]:
    config = uvicorn.Config(lab.app, port=0, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    began = threading.Event()
    for _ in range(START_TIMEOUT_S * 100):
        if server.started or began.wait(0.01):
            break
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(START_TIMEOUT_S)


@pytest.mark.filterwarnings("ignore")
def test_every_answer_is_documented(lab: Lab, url: str) -> None:
    def key() -> str:
        if not any(k.owner == "root" and k.revoked_at is None for k in lab.ledger.key_views.values()):
            lab.ledger.key_views.clear()
        lab.ledger.add_key(ROOT, "root", Role.ADMIN)  # some requests revoke or rotate it
        lab.services.authenticator.forget()
        return ROOT

    numbers = itertools.count(10)

    def known() -> dict[str, list[object]]:
        project, verified = (UUID(int=next(numbers)) for _ in range(2))
        lab.verification.decide(
            CreateProject(project_id=project, owner="root", name=f"p-{project}", top_module="t", target_pdk="p")
        )
        lab.verification.decide(
            SubmitVerification(
                job_id=verified, project_id=project, owner="root", stages=("lint", "crypto"), files_digest="", seed=1
            )
        )
        lab.verification.end(verified, StageOutcome(status="passed", summary={"warnings": 1}))
        lab.verification.decide(CancelVerification(job_id=verified, owner="root"))
        jobs = [*(str(UUID(int=n)) for n in (1, 2)), *[shown_id(JOB_PREFIX, verified)] * 2]
        return {
            "fpga_id": [0, 1],
            "job_id": jobs,
            "other_id": jobs[-1:],
            "session_id": [str(SESSION)],
            "project_id": [shown_id(PROJECT_PREFIX, project)],
        }

    run = Fuzz(url, key, known)
    run.run(lab.app.openapi(), EXAMPLES)
    assert sum(run.statuses.values()) > 100
    assert {200, 202, 404, 422} <= set(run.statuses), run.statuses
