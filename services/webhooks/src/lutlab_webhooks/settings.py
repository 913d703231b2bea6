"""Everything that can be set, from `LUTLAB_...` environment variables; read once at start."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SecretStr

from lutlab_transport.settings import ServiceSettings
from lutlab_webhooks.app.delivery import DISABLE_AFTER


class Settings(ServiceSettings):
    """Settings of the delivery."""

    database_url: str = Field("postgresql://127.0.0.1:5432/lutlab", description="where the ledger is")
    webhooks_key: SecretStr = Field(
        ..., min_length=16, description="what signing secrets are encrypted with; the same text as the API's"
    )
    webhooks_allow_networks: str = Field("", description="networks beside the public ones that may be called")
    webhooks_disable_after_h: float = Field(
        DISABLE_AFTER / timedelta(hours=1), gt=0, description="failing so long disables an endpoint"
    )
    webhooks_keep_days: float = Field(30.0, gt=0, description="how long ended deliveries are kept")
    webhooks_metrics_port: int = Field(0, ge=0, le=65535, description="serve Prometheus metrics here; 0 for not at all")
