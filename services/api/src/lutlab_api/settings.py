"""Everything that can be set, from `LUTLAB_...` environment variables; read once at start."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from lutlab_bus.stream import REQUEST_BYTES_MAX
from lutlab_events.values import Role
from lutlab_ledger.storage import OWNER_BYTES_MAX
from lutlab_transport.settings import DatabaseUrl, LogLevel, NatsUrl, SeedFile, Token


def _networks(value: str) -> str:
    for part in value.split(","):
        try:
            ip_network(part.strip())
        except ValueError:
            raise ValueError(f"{part.strip()!r} is no address and no network such as 172.16.0.0/12") from None
    return value


Proxies = Annotated[str, AfterValidator(_networks)]


class Settings(BaseSettings):
    """Settings of the API; each field is the environment variable `LUTLAB_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_", frozen=True, extra="ignore")

    site: Token = Field("main", description="the lab's name")
    nats_url: NatsUrl = Field("nats://127.0.0.1:4222", description="where NATS is; several servers separated by commas")
    nats_nkey_seed_file: SeedFile | None = Field(None, description="file with the nkey seed, where NATS asks for one")
    nats_token: SecretStr | None = Field(None, description="NATS' token, where it asks for one")
    database_url: DatabaseUrl = Field("postgresql://postgres@127.0.0.1:5432/lutlab", description="where the ledger is")
    otlp_endpoint: str = Field(
        "", description="where traces go by OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: none are made"
    )
    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    api_host: str = Field("127.0.0.1", description="address to listen on")
    api_port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    api_proxies: Proxies = Field(
        "127.0.0.1,::1",
        description="addresses and networks, separated by commas, of reverse proxies: whose X-Forwarded-For is "
        "believed. Callers behind a proxy that is not named share its limits and its wrong keys",
    )
    api_shutdown_s: int = Field(10, ge=0, description="how long requests may take to end when the API is stopped")
    auth_enabled: bool = Field(
        True,
        description="keys are asked for; without, whoever sends none acts as the member `anonymous`: for one's own "
        "machine only, see LUTLAB_OPEN_HOSTS",
    )
    open_hosts: str = Field(
        "",
        description="names, separated by commas, by which a lab that asks for no keys may be reached from other "
        "machines; * for any; without this it does not start unless it listens on this machine only",
    )
    public_reads: bool = Field(False, description="boards, and jobs by id, are readable without a key")
    bootstrap_key: SecretStr | None = Field(None, min_length=8, description="makes this API key known as an admin's")
    bootstrap_owner: str = Field("admin", min_length=1, max_length=64, description="whose the bootstrap key is")
    git_commit: str | None = Field(None, description="shown by /health")

    command_timeout_s: float = Field(5.0, gt=0, description="how long the scheduler may take to answer")
    bus_timeout_s: float = Field(
        25.0, gt=0, description="how long a board may take for one transaction; an agent gives up after 22 s"
    )
    key_memory_s: float = Field(1.0, ge=0, description="how long a looked-up key is remembered; bounds revocation")
    postgres_connections_max: int = Field(10, ge=1, le=100, description="size of the connection pool")
    upload_bytes_max: int = Field(16 << 20, ge=1, description="most bytes of an uploaded design")
    project_upload_bytes_max: int = Field(
        100 << 20, ge=1, description="most bytes of one upload to a verification project, archives unpacked"
    )
    json_bytes_max: int = Field(256 << 10, ge=1024, description="most bytes of any other request body")
    github_api_url: str | None = Field(
        None, description="where tokens of /auth/github/exchange are looked up, e.g. https://api.github.com"
    )
    github_logins: str = Field("", description="who may log in so, separated by commas; * for everybody")
    github_role: Role = Field(Role.MEMBER, description="what they become: member or viewer")
    github_key_days: int = Field(90, ge=1, le=3650, description="how long a key lives that was got by logging in")
    failed_attempts_max: int = Field(30, ge=1, description="wrong keys and logins a minute and address")
    limit_requests_per_minute: int = Field(60_000, ge=1, description="requests of a key; those without one by address")
    limit_submits_per_hour: int = Field(600, ge=1, description="submits of a key to /submit and /fpga/{id}/submit")
    limit_jobs_per_hour: int = Field(60, ge=1, description="jobs submitted under /api/v1, by project or else by key")
    limit_results_per_minute: int = Field(300, ge=1, description="results and artifacts of a key under /api/v1")
    webhooks_key: SecretStr | None = Field(
        None, min_length=16, description="what webhook secrets are encrypted with; the same text as lutlab-webhooks'"
    )
    webhooks_allow_networks: str = Field(
        "", description="networks beside the public ones that webhooks may be delivered to"
    )
    owner_bytes_max: int = Field(
        OWNER_BYTES_MAX, ge=1, description="most bytes an owner may have stored; the same number as the scheduler's"
    )
    websockets_max: int = Field(10, ge=1, description="WebSockets, and as many followed logs, an owner may have open")
    requests_in_flight_max: int = Field(1000, ge=1, description="requests at once; those beyond are answered 503")
    client_stalled_s: float = Field(
        60.0, gt=0, description="a connection whose client takes nothing for so long is cut"
    )
    follower_slow_s: float = Field(30.0, gt=0, description="a follower that takes nothing for so long is cut off")
    wait_s_max: int = Field(60, ge=0, description="longest `Prefer: wait`")
    waits_max: int = Field(500, ge=0, description="requests waiting at once; those beyond are answered at once")
    jobs_listed_max: int = Field(10_000, ge=1, description="most jobs of one listing")
    stream_in_flight_max: int = Field(32, ge=1, le=1024, description="requests of a stream under way at once")
    stream_frame_bytes_max: int = Field(
        REQUEST_BYTES_MAX, ge=12, description="longest stream request passed on; longer ones get an error reply"
    )
    stream_message_bytes_max: int = Field(1 << 20, ge=4096, description="a longer WebSocket message closes with 1009")

    @property
    def open_names(self) -> frozenset[str]:
        """`open_hosts`, one by one."""
        return frozenset(name.strip().lower() for name in self.open_hosts.split(",") if name.strip())

    stream_keep_s: float = Field(10.0, gt=0, description="how often an open stream is renewed")
