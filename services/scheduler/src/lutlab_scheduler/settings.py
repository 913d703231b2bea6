"""Everything that can be set, read once at start from `LUTLAB_...` environment variables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

import lutlab_profiles
from lutlab_ledger.storage import OWNER_BYTES_MAX
from lutlab_scheduler.app.retention import Retention
from lutlab_scheduler.domain.outcome import QUARANTINE_AFTER, Rules
from lutlab_transport.streams import BLOB_BUCKET_BYTES_MAX


class Settings(BaseSettings):
    """The scheduler's settings; each field is the variable `LUTLAB_<FIELD>`.

    Attributes:
        site: the lab whose name the scheduler's own commands carry; it serves the commands of all sites.
        session_ttl_s: how long a session lasts without use.
        program_deadline_s: how long an agent may take to load a bitstream.
        build_deadline_s: how long one build attempt may take; more than the stages of a builder together
            (LUTLAB_BUILDER_..._WALL_S). A builder that died is noticed much earlier, by its silence.
        stage_limit_s: how long one stage of a verification job may take.
        agent_lease_s: how long an agent may be silent.
        session_max_s: how long a session may last, however much it is used.
        owner_jobs_max: how many build jobs of one owner may be open at once.
        owner_boards_max: how many boards one owner may have at once; further jobs wait.
        owner_bytes_max: how many bytes one owner may have stored: designs, bitstreams, files of projects, what jobs
            left; the API wants the same number.
        quarantine_after: how many loads in a row may fail until a board gets no more jobs.
        queue_jobs_max: how many build jobs may be open at once.
        job_log_bytes_max: how much of a job's log is kept.
        keep_logs_days: how long a job's log is kept after the job has ended; 0 for ever.
        keep_blobs_days: how long a job's source, files and findings are kept after it has ended, and a project's files
            after they were replaced or the project deleted; 0 for ever.
        nats_monitor_url: NATS' monitoring ports, separated by commas; how it syncs is read back there at start.
        allow_unsafe_sync: go on even if NATS acknowledges messages before they are on disk, or cannot be asked.
        nats_replicas: copies of each stream; 3 in a cluster.
        scheduler_metrics_port: where Prometheus may ask, 0 for nowhere.
        otlp_endpoint: where traces go by OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: none are made.
        default_profile: what to build for if neither job nor boards say.
    """

    model_config = SettingsConfigDict(env_prefix="LUTLAB_", frozen=True, extra="ignore")

    site: str = "main"
    nats_url: str = "nats://127.0.0.1:4222"
    nats_token: str | None = None
    nats_nkey_seed_file: Path | None = None
    nats_monitor_url: str = ""
    allow_unsafe_sync: bool = False
    nats_replicas: int = Field(default=1, ge=1, le=5)
    database_url: str = "postgresql://postgres@127.0.0.1:5432/lutlab"
    log_level: str = "INFO"
    session_ttl_s: float = Field(default=3600.0, gt=0)
    program_deadline_s: float = Field(default=90.0, gt=0)
    build_deadline_s: float = Field(default=3600.0, gt=0)
    stage_limit_s: float = Field(default=3600.0, gt=0)
    agent_lease_s: float = Field(default=10.0, gt=0)
    session_max_s: float = Field(default=86400.0, gt=0)
    owner_jobs_max: int = Field(default=500, ge=1)
    owner_boards_max: int = Field(default=1000, ge=1)
    owner_bytes_max: int = Field(default=OWNER_BYTES_MAX, ge=1)
    quarantine_after: int = Field(default=QUARANTINE_AFTER, ge=1)
    queue_jobs_max: int = Field(default=1000, ge=1)
    job_log_bytes_max: int = Field(default=4 << 20, ge=1024)
    scheduler_metrics_port: int = Field(default=0, ge=0, le=65535)
    otlp_endpoint: str = ""
    keep_logs_days: float = Field(default=90.0, ge=0)
    keep_blobs_days: float = Field(default=365.0, ge=0)
    default_profile: str = lutlab_profiles.DEFAULT_PROFILE

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
