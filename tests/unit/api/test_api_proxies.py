"""Who asks, where a reverse proxy stands in between: told by proxies that are named, and by nobody else."""

from __future__ import annotations

import httpx
import pytest
from api_fakes import ADA, Lab
from pydantic import ValidationError
from test_api_slow import served

from lutlab_api.settings import Settings

STRANGER, FRIEND = "203.0.113.1", "203.0.113.2"


def asked(port: int, key: str, forwarded: str) -> int:
    headers = {"X-API-Key": key, "X-Forwarded-For": forwarded}
    return httpx.get(f"http://127.0.0.1:{port}/jobs", headers=headers).status_code


def test_a_strangers_wrong_keys_keep_out_nobody_else_behind_the_proxy() -> None:
    with served(Lab(failed_attempts_max=2)) as port:
        assert [asked(port, "wrong", STRANGER) for _ in range(3)] == [401, 401, 429]
        assert asked(port, "wrong", f"{STRANGER}, 203.0.113.3") == 401, "the proxy's word comes last"
        assert asked(port, ADA, FRIEND) == 200


def test_whoever_is_no_proxy_is_not_believed() -> None:
    with served(Lab(failed_attempts_max=2, api_proxies="10.0.0.0/8, ::1")) as port:
        assert [asked(port, "wrong", f"203.0.113.{n}") for n in range(3)] == [401, 401, 429]


def test_a_proxy_is_an_address_or_a_network() -> None:
    for wrong in ("*", "proxy.example", "10.0.0.1/8", ""):
        with pytest.raises(ValidationError, match="is no address and no network"):
            Settings(api_proxies=wrong)
