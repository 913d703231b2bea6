"""What a service says of its settings: everything in `--help`, and one sentence for each mistake."""

from __future__ import annotations

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from lutlab_events.subjects import token
from lutlab_transport.settings import (
    DatabaseUrl,
    EdgeSettings,
    LogLevel,
    NatsUrl,
    SeedFile,
    Token,
    explained,
    name_of_host,
    read,
)


class Sample(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_", frozen=True, populate_by_name=True)

    port: int = Field(0, le=65535, description="where it listens")
    key: SecretStr = Field(min_length=16, description="what seals")
    level: LogLevel = Field("INFO", validation_alias="OTHER_LEVEL", description="how much is said")
    seed: SeedFile | None = Field(None, description="how it logs in")
    nats_url: NatsUrl = Field("nats://127.0.0.1:4222", description="where messages go")
    database_url: DatabaseUrl = Field("postgresql://x", description="where events go")
    name: Token = Field("sample", description="how others call it")
    quiet: bool = Field(False, description="whether nothing is said")


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_KEY", "0123456789abcdef")


def test_the_environment_and_what_is_given_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_LEVEL", "debug")
    assert (read(Sample, "sample").level, read(Sample, "sample", port=7).port) == ("DEBUG", 7)


@pytest.mark.parametrize("url", ["nats://a:1,tls://b", "hub:4222", "nats://secret@127.0.0.1:4222", " nats://[::1]:1 "])
def test_ways_to_nats(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SAMPLE_NATS_URL", url)
    assert read(Sample, "sample").nats_url == url


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SAMPLE_PORT", "many", "SAMPLE_PORT='many': Input should be a valid integer"),
        ("SAMPLE_PORT", "70000", "SAMPLE_PORT='70000': Input should be less than or equal to 65535"),
        ("SAMPLE_KEY", "too short", "SAMPLE_KEY: Value should have at least 16"),
        ("OTHER_LEVEL", "loud", "OTHER_LEVEL: 'loud' is none of DEBUG, INFO, WARNING, ERROR"),
        ("SAMPLE_KEY", None, "SAMPLE_KEY is not set: what seals"),
        ("SAMPLE_NATS_URL", "http://too short:1", "SAMPLE_NATS_URL: http:// is no way to NATS: nats://, tls://"),
        ("SAMPLE_NATS_URL", "nats://u:too short@x:y", "SAMPLE_NATS_URL: each server is nats://HOST:PORT"),
        ("SAMPLE_DATABASE_URL", "u:too short@x/y", "SAMPLE_DATABASE_URL: a database is postgresql://"),
        ("SAMPLE_NAME", "a.b", "SAMPLE_NAME: 'a.b' must be 1 to 64 letters, digits, `_` or `-`"),
        ("SAMPLE_NAME", "a\n", r"SAMPLE_NAME: 'a\n' must be 1 to 64 letters"),
        ("SAMPLE_NAME", "my.lab", "SAMPLE_NAME: 'my.lab' must be 1 to 64 letters, digits, `_` or `-`"),
        ("SAMPLE_NAME", "main ", "SAMPLE_NAME: 'main ' must be"),
        ("SAMPLE_NAME", ">", "SAMPLE_NAME: '>' must be"),
        ("SAMPLE_SEED", "/none", "SAMPLE_SEED: '/none' cannot be read: No such file"),
        ("SAMPLE_SEED", __file__, f"SAMPLE_SEED: {__file__!r} holds no nkey seed"),
    ],
)
def test_a_mistake_is_one_sentence_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str | None, said: str
) -> None:
    monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        read(Sample, "sample")
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith(f"sample: {said}")
    assert error.count("\n") == 1
    assert "too short" not in error


def test_help_has_every_variable_with_its_meaning_and_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = explained(Sample)
    assert max(map(len, said.splitlines())) <= 40
    for told in ("SAMPLE_PORT\n      where it listens (0)", "what seals (must be set)", "OTHER_LEVEL", "(false)"):
        assert told in said


@pytest.mark.parametrize("host", ["lab-7.example.org", "ünïcode", "...", "a" * 100])
def test_the_name_of_any_host_may_stand_in_a_subject(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert len(token(name_of_host("agent", 20))) <= 20


def test_what_services_at_the_edge_share_has_the_same_names_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Edge(EdgeSettings):
        model_config = SettingsConfigDict(env_prefix="EDGE_")

    monkeypatch.setenv("LUTLAB_SITE", "lyon")
    monkeypatch.setenv("EDGE_METRICS_PORT", "9")
    edge = read(Edge, "edge")
    assert (edge.site, edge.metrics_port, read(Edge, "edge", site="given").site) == ("lyon", 9, "given")
    with pytest.raises(ValueError, match="frozen"):
        edge.site = "other"
