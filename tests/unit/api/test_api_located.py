"""`Location` on every 201 and 202."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from api_fakes import ROOT, SESSION, T0, Lab, reserved
from test_api_webhooks import own

from lutlab_api.app.webhooks import DeliveryView
from lutlab_api.web.located import MADE

HOOK = {"url": "https://your-server.com/openforge-events", "events": ["job.failed"]}
PROJECT = {"name": "uart", "top_module": "uart", "target_pdk": "sky130"}
FILE: dict[str, Any] = {"files": {"file": ("design.v", b"module m; endmodule")}}
READ = {"json": {"op": 2, "address": 0}}
KEY = {"json": {"owner": "ada"}}


async def test_what_was_made_or_begun_is_told_where() -> None:
    lab = Lab(webhooks_key="a key for the webhooks of a lab")
    lab.ledger.add(reserved())
    hook, told = own(lab, "root"), _delivery(lab)
    async with lab.client(ROOT) as client:
        project = (await client.post("/api/v1/projects", json=PROJECT | {"name": "other"})).json()["id"]
        files = {"files[]": ("uart.v", b"module uart; endmodule")}
        assert (await client.post(f"/api/v1/projects/{project}/upload", files=files)).status_code == 200
        asked: list[tuple[str, str, dict[str, Any], str]] = [
            ("POST", "/submit", FILE, "/jobs/{job_id}"),
            ("POST", "/fpga/0/submit", FILE, "/fpga/0/jobs/{job_id}"),
            ("POST", "/fpga/0/run", READ, "/fpga/0/jobs/{job_id}"),
            ("POST", "/fpga/0/reset", {}, "/fpga/0/jobs/{job_id}"),
            ("POST", "/fpga/0/session/release", {}, "/fpga/0/jobs/{job_id}"),
            ("POST", "/auth/keys", KEY, "/api/v1/keys/{key_id}"),
            ("POST", "/api/v1/keys", KEY, "/api/v1/keys/{key_id}"),
            ("POST", "/api/v1/jobs", FILE, "/api/v1/jobs/{job_id}"),
            ("POST", "/api/v1/boards/0/run", READ, "/api/v1/jobs/{job_id}"),
            ("POST", "/api/v1/boards/0/reset", {}, "/api/v1/jobs/{job_id}"),
            ("DELETE", f"/api/v1/sessions/{SESSION}", {}, "/api/v1/jobs/{job_id}"),
            ("POST", "/api/v1/projects", {"json": PROJECT}, "{url}"),
            ("POST", f"/api/v1/projects/{project}/jobs", {"json": {"stages": ["lint"]}}, "{url}"),
            ("POST", "/api/v1/webhooks", {"json": HOOK}, "/api/v1/webhooks/{webhook_id}"),
            ("POST", f"/api/v1/webhooks/{hook}/ping", {}, f"/api/v1/webhooks/{hook}/deliveries/{{delivery_id}}"),
            ("POST", f"/api/v1/webhooks/{hook}/replay", {"json": {"after": 3}}, f"/api/v1/webhooks/{hook}"),
            (
                "POST",
                f"/api/v1/webhooks/{hook}/deliveries/{told}/redeliver",
                {},
                f"/api/v1/webhooks/{hook}/deliveries/{told}",
            ),
        ]
        for method, path, body, where in asked:
            answer = await client.request(method, path, **body)
            assert answer.status_code in (201, 202), (path, answer.text)
            assert answer.headers["Location"] == where.format(**answer.json()), path
    documented = [
        operation["responses"][status]["headers"]
        for methods in lab.app.openapi()["paths"].values()
        for operation in methods.values()
        for status in MADE & operation["responses"].keys()
    ]
    assert len(documented) == len(asked)
    assert all("Location" in headers for headers in documented)


def _delivery(lab: Lab) -> UUID:
    told = DeliveryView(
        delivery_id=uuid4(),
        position=1,
        topic="job.failed",
        subject="job-1",
        status="failed",
        attempts=1,
        next_at=None,
        created_at=T0,
        updated_at=T0,
        body="{}",
    )
    lab.hooks.log[told.delivery_id] = (told, [])
    return told.delivery_id
