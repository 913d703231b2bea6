"""What can be set says what it is for, in every service; what is set wrongly is named, without a traceback."""

from __future__ import annotations

import pytest
from pydantic import Field

from lutlab_api.settings import Settings as ApiSettings
from lutlab_board_agent.settings import AgentSettings
from lutlab_builder.settings import Settings as BuilderSettings
from lutlab_scheduler.__main__ import main as scheduler
from lutlab_scheduler.settings import Settings as SchedulerSettings
from lutlab_transport.settings import ServiceSettings, SettingsInvalid, described, read_settings, variables_of
from lutlab_webhooks.settings import Settings as WebhooksSettings

SERVICES = (ApiSettings, AgentSettings, BuilderSettings, SchedulerSettings, WebhooksSettings)


class Some(ServiceSettings, env_prefix="LUTLAB_SOME_"):
    """Those of no service."""

    needed: int = Field(ge=1, description="what it needs")
    kept_s: float = Field(default=2.5, gt=0, description="how long it is kept")


@pytest.mark.parametrize("settings", SERVICES, ids=lambda settings: settings.__module__)
def test_help_says_what_each_variable_is_for(settings: type[ServiceSettings]) -> None:
    assert issubclass(settings, ServiceSettings)
    assert all(field.description for field in variables_of(settings).values())
    assert "  LUTLAB_NATS_URL\n      where NATS is" in described(settings)


def test_help_says_what_holds_without_a_variable() -> None:
    said = described(Some)
    assert "  LUTLAB_SOME_NEEDED\n      what it needs (required)\n" in said
    assert "  LUTLAB_SOME_KEPT_S\n      how long it is kept (default: 2.5)" in said
    assert "  LUTLAB_SITE\n      the lab's name (default: main)\n" in said


def test_variables_are_read_and_options_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTLAB_SOME_NEEDED", "3")
    monkeypatch.setenv("LUTLAB_SOME_KEPT_S", "4")
    monkeypatch.setenv("LUTLAB_LOG_LEVEL", "debug")
    monkeypatch.setenv("LUTLAB_NATS_TOKEN", "secret")
    found = read_settings(Some, needed=5, kept_s=None)
    assert (found.needed, found.kept_s, found.log_level, found.nats_token_text) == (5, 4.0, "DEBUG", "secret")
    assert "secret" not in repr(found)


def test_everything_that_is_wrong_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTLAB_SITE", "my lab")
    monkeypatch.setenv("LUTLAB_LOG_LEVEL", "chatty")
    with pytest.raises(SettingsInvalid) as caught:
        read_settings(Some, kept_s=-1)
    said = str(caught.value)
    assert "LUTLAB_SITE: Value error, 'my lab' must be 1 to 64 letters" in said
    assert "LUTLAB_LOG_LEVEL: Value error, 'chatty' must be DEBUG, INFO, WARNING or ERROR" in said
    assert "LUTLAB_SOME_NEEDED: Field required" in said and "LUTLAB_SOME_KEPT_S: Input should be greater" in said


def test_a_service_ends_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lutlab-scheduler"])
    monkeypatch.setenv("LUTLAB_SESSION_TTL_S", "-1")
    with pytest.raises(SystemExit, match=r"^lutlab-scheduler: LUTLAB_SESSION_TTL_S: Input should be greater than 0$"):
        scheduler()
