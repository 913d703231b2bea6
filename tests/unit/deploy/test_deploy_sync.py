"""The servers that deploy/ describes sync before they acknowledge, as the scheduler reads it back from them."""

from __future__ import annotations

from pathlib import Path

from deploy_support import NATS, adapt, hub_text, load_accounts, started

from lutlab_scheduler.adapters.nats_sync import check_sync
from lutlab_stack.ports import free_port

accounts = load_accounts()


async def test_the_hub_of_compose_is_safe_and_can_be_asked_from_other_containers(tmp_path: Path) -> None:
    accounts.write(accounts.parse_labs("[labs.main]"), tmp_path / "site")
    (tmp_path / "hub.conf").write_text(hub_text(tmp_path))
    port = free_port()
    text = adapt((NATS / "compose.conf").read_text(), {"0.0.0.0:8222": f"127.0.0.1:{port}"})
    with started(tmp_path, "compose", text, tmp_path / "site" / "seeds") as server:
        # Its own port, not that of hub.conf.
        assert server.monitor_urls == [f"http://127.0.0.1:{port}"]
        await check_sync(server.monitor_urls[0], allow_unsafe=False)
