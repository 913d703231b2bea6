"""Everything that can be set, from `LUTLAB_...` environment variables; read once at start."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from lutlab_transport.settings import DatabaseUrl, LogLevel, NatsUrl, SeedFile, Token


class Settings(BaseSettings):
    """Settings of the delivery; each field is the environment variable `LUTLAB_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_", frozen=True, extra="ignore")

    site: Token = Field("main", description="the lab's name")
    nats_url: NatsUrl = Field("nats://127.0.0.1:4222", description="where NATS is; several servers separated by commas")
    nats_nkey_seed_file: SeedFile | None = Field(None, description="file with the nkey seed, where NATS asks for one")
    nats_token: SecretStr | None = Field(None, description="NATS' token, where it asks for one")
    database_url: DatabaseUrl = Field("postgresql://postgres@127.0.0.1:5432/lutlab", description="where the ledger is")
    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    webhooks_key: SecretStr = Field(
        ..., min_length=16, description="what signing secrets are encrypted with; the same text as the API's"
    )
    webhooks_allow_networks: str = Field("", description="networks beside the public ones that may be called")
    webhooks_disable_after_h: float = Field(
        96.0, gt=0, description="failing so long disables an endpoint; all attempts of a delivery together take 75 h"
    )
    webhooks_keep_days: float = Field(30.0, gt=0, description="how long ended deliveries are kept")
    webhooks_metrics_port: int = Field(0, ge=0, le=65535, description="serve Prometheus metrics here; 0 for not at all")
