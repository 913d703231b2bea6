"""Everything that can be set, read once at start from `LUTLAB_...` environment variables."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

import lutlab_profiles
from lutlab_ledger.storage import OWNER_BYTES_MAX
from lutlab_scheduler.app.retention import Retention
from lutlab_scheduler.domain.outcome import QUARANTINE_AFTER, Rules
from lutlab_transport.settings import DatabaseUrl, LogLevel, NatsUrl, SeedFile, Token
from lutlab_transport.streams import BLOB_BUCKET_BYTES_MAX


class Settings(BaseSettings):
    """The scheduler's settings; each field is the environment variable `LUTLAB_` + its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="LUTLAB_", frozen=True, extra="ignore")

    site: Token = Field(default="main", description="the lab's name")
    nats_url: NatsUrl = Field(
        default="nats://127.0.0.1:4222", description="where NATS is; several servers separated by commas"
    )
    nats_token: str | None = Field(default=None, description="NATS' token, where it asks for one")
    nats_nkey_seed_file: SeedFile | None = Field(
        default=None, description="file with the nkey seed, where NATS asks for one"
    )
    nats_monitor_url: str = Field(
        default="",
        description="NATS' monitoring ports, separated by commas, e.g. http://127.0.0.1:8222; "
        "how it syncs is read back there at start",
    )
    allow_unsafe_sync: bool = Field(
        default=False,
        description="go on even if NATS acknowledges messages before they are on disk, or cannot be asked",
    )
    nats_replicas: int = Field(default=1, ge=1, le=5, description="copies of each stream; 3 in a cluster")
    database_url: DatabaseUrl = Field(
        default="postgresql://postgres@127.0.0.1:5432/lutlab", description="where the ledger is"
    )
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    session_ttl_s: float = Field(default=3600.0, gt=0, description="how long a session lasts without use")
    program_deadline_s: float = Field(default=90.0, gt=0, description="how long an agent may take to load a bitstream")
    build_deadline_s: float = Field(
        default=3600.0,
        gt=0,
        description="how long one attempt of a build may take; more than a builder's LUTLAB_BUILDER_..._WALL_S "
        "together; a builder that died is noticed much earlier, by its silence",
    )
    stage_limit_s: float = Field(default=3600.0, gt=0, description="how long one stage of a verification job may take")
    agent_lease_s: float = Field(
        default=10.0, gt=0, description="how long an agent may be silent before its boards are lost"
    )
    session_max_s: float = Field(
        default=86400.0, gt=0, description="how long a session may last, however much it is used"
    )
    owner_jobs_max: int = Field(default=500, ge=1, description="build jobs an owner may have open at once")
    owner_boards_max: int = Field(default=1000, ge=1, description="boards an owner may have at once; further jobs wait")
    owner_bytes_max: int = Field(
        default=OWNER_BYTES_MAX, ge=1, description="most bytes an owner may have stored; the same number as the API's"
    )
    quarantine_after: int = Field(
        default=QUARANTINE_AFTER, ge=1, description="how many loads in a row may fail until a board gets no more jobs"
    )
    queue_jobs_max: int = Field(default=1000, ge=1, description="build jobs that may be open at once")
    job_log_bytes_max: int = Field(default=4 << 20, ge=1024, description="how much of a job's log is kept")
    scheduler_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="where Prometheus may ask; 0 for nowhere"
    )
    otlp_endpoint: str = Field(
        default="", description="where traces go by OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: none are made"
    )
    keep_logs_days: float = Field(
        default=90.0, ge=0, description="how long a job's log is kept after the job has ended; 0 for ever"
    )
    keep_blobs_days: float = Field(
        default=365.0,
        ge=0,
        description="how long a job's source, files and findings are kept after it has ended, and a project's files "
        "after they were replaced or the project deleted; 0 for ever",
    )
    default_profile: str = Field(
        default=lutlab_profiles.DEFAULT_PROFILE, description="what to build for if neither job nor boards say"
    )

    def retention(self) -> Retention:
        """How long by-products are kept."""
        return Retention(
            logs=timedelta(days=self.keep_logs_days) if self.keep_logs_days else None,
            blobs=timedelta(days=self.keep_blobs_days) if self.keep_blobs_days else None,
            transit_bytes=BLOB_BUCKET_BYTES_MAX // 2,
        )

    def rules(self) -> Rules:
        """The limits decisions obey."""
        return Rules(
            session_ttl=timedelta(seconds=self.session_ttl_s),
            program_deadline=timedelta(seconds=self.program_deadline_s),
            build_deadline=timedelta(seconds=self.build_deadline_s),
            queue_jobs_max=self.queue_jobs_max,
            profiles=frozenset(lutlab_profiles.names()),
            default_profile=self.default_profile,
            owner_jobs_max=self.owner_jobs_max,
            owner_boards_max=self.owner_boards_max,
            session_max=timedelta(seconds=self.session_max_s),
            quarantine_after=self.quarantine_after,
            stage_limit=timedelta(seconds=self.stage_limit_s),
            owner_bytes_max=self.owner_bytes_max,
        )
