"""Tables of the ledger: the log and its commands are the truth, everything under `views` is rebuilt from the log."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

metadata = MetaData()

# -- the log ---------------------------------------------------------------------------------------

events = Table(
    "events",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False, comment="from 1, gapless, commit order"),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("stream", Text, nullable=False),
    Column("version", Integer, nullable=False, comment="from 1 within the stream"),
    Column("type", Text, nullable=False),
    Column("data", JSON, nullable=False, comment="json, not jsonb: the text is hashed"),
    Column("causation_id", Uuid, nullable=False),
    Column("correlation_id", Uuid, nullable=False),
    Column("actor", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("hash", LargeBinary, nullable=False, comment="SHA-256 over the previous hash and this row"),
    UniqueConstraint("stream", "version", name="events_stream_version"),
    Index("events_correlation", "correlation_id"),
    Index("events_at", "at", postgresql_using="brin"),
)

commands = Table(
    "commands",
    metadata,
    Column("command_id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, server_default=""),
    Column("code", Text, nullable=False, comment="ok, or why it was rejected"),
    Column("answer", JSON, nullable=False, comment="what every repetition of this command is answered"),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Index("commands_received", "received_at"),
    Index("commands_refused", "code", "received_at", postgresql_where=text("code <> 'ok'")),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("letter_id", Uuid, primary_key=True, comment="derived from origin, subject and bytes"),
    Column("origin", Text, nullable=False, comment="the stream the message came from"),
    Column("subject", Text, nullable=False, comment="where a replay publishes it again"),
    Column("reason", Text, nullable=False),
    Column("data", LargeBinary, nullable=False, comment="the message, byte for byte"),
    Column("arrived_at", DateTime(timezone=True), nullable=False),
    Column("replayed_at", DateTime(timezone=True)),
    Column("replayed_by", Text),
    Index("dead_letters_arrived", "arrived_at"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Text, primary_key=True, comment="SHA-256"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("name", Text, primary_key=True, comment="relay, dispatch, policies, ..."),
    Column("position", BigInteger, nullable=False, comment="the last log position this reader has dealt with"),
)

job_logs = Table(
    "job_logs",
    metadata,
    Column("job_id", Uuid, nullable=False, primary_key=True),
    Column("attempt", Integer, nullable=False, primary_key=True),
    Column("seq", Integer, nullable=False, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("text", Text, nullable=False, comment="lines, each ended by a newline"),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("level", Text, comment="DEBUG, INFO, WARNING or ERROR; null: a build's"),
)

# -- views -----------------------------------------------------------------------------------------

boards = Table(
    "boards",
    metadata,
    Column("fpga_id", Integer, primary_key=True, autoincrement=False),
    Column("board_key", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("state", Text, nullable=False, comment="lutlab_events.values.BoardState"),
    Column("epoch", Integer, nullable=False),
    Column("owner", Text),
    Column("session_id", Uuid),
    Column("session_created_at", DateTime(timezone=True)),
    Column("session_expires_at", DateTime(timezone=True)),
    Column("current_job_id", Uuid),
    Column("current_job_created_at", DateTime(timezone=True)),
    Column("bitstream", JSON, comment="what is loaded or being loaded: BitstreamRef"),
    Column("deadline_at", DateTime(timezone=True), comment="of the loading under way"),
    Column("reset_attempts", Integer, nullable=False, server_default="0"),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("service", Text, comment="lutlab_events.values.Service; null: in service"),
    Column("service_reason", Text, comment="why it is not in service"),
    Column("version", Integer, nullable=False, comment="of its stream"),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("site", "board_key", name="boards_site_key"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True, comment="position of its first event: queue order"),
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("fpga_id", Integer, comment="the board it runs on, once it has one"),
    Column("pinned_fpga_id", Integer, comment="the board it was submitted to"),
    Column("profile", Text),
    Column("build_stage", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("source_digest", Text),
    Column("filename", Text),
    Column("top", Text),
    Column("sys_clk_hz", BigInteger),
    Column("timing_target_mhz", Float),
    Column("priority", Integer, comment="higher goes first; null: 0"),
    Column("labels", JSON, comment="labels the board must have; null: none"),
    Column("bitstream", JSON),
    Column("report", JSON),
    Column("cached", Boolean),
    Column("result", JSON),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("error_stage", Text),
    Column("deadline_at", DateTime(timezone=True), comment="of the build attempt under way"),
    Column("correlation_id", Uuid, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
    Index("jobs_owner_number", "owner", "number"),
    Index("jobs_owner_sources", "owner", postgresql_where=text("source_digest is not null")),
    Index("jobs_status_number", "status", "number"),
)

agents = Table(
    "agents",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("incarnation", Uuid, nullable=False),
    Column("state", Text, nullable=False, comment="present or lost"),
    Column("board_keys", JSON, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("key_sha256", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Column("scopes", JSON, comment="null: everything the role allows"),
    Column("team", Text),
    Column("expires_at", DateTime(timezone=True)),
    Column("previous_sha256", Text, comment="before the last rotation; good until previous_until"),
    Column("previous_until", DateTime(timezone=True)),
    Index("api_keys_previous", "previous_sha256"),
    Index("api_keys_team", "team"),
)

profiles = Table(
    "profiles",
    metadata,
    Column("profile", Text, primary_key=True),
    Column("base", JSON, comment="BitstreamRef of the base design"),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("project_id", Uuid, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False, comment="unique among its owner's that are not deleted"),
    Column("top_module", Text, nullable=False),
    Column("target_pdk", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False, comment="created, active or deleted"),
    Column("files", JSON, nullable=False, comment="path -> FileRef"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
    Index("projects_owner_name", "owner", "name"),
)

verifications = Table(
    "verifications",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True, comment="position of its first event"),
    Column("project_id", Uuid, nullable=False),
    Column("owner", Text, nullable=False),
    Column("status", Text, nullable=False, comment="lutlab_events.verification.VerificationStatus"),
    Column("stages", JSON, nullable=False),
    Column("current_stage", Text, comment="next or under way; null at the end"),
    Column("records", JSON, nullable=False, comment="of the stages that began: times and StageOutcome"),
    Column("config_overrides", JSON, nullable=False),
    Column("files_digest", Text, nullable=False, comment="the blob of its file set"),
    Column("seed", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False, comment="of the current stage"),
    Column("builder_id", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("deadline_at", DateTime(timezone=True), comment="of the stage under way"),
    Column("correlation_id", Uuid, nullable=False),
    Column("submitted_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("completed_at", DateTime(timezone=True)),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
    Index("verifications_project_number", "project_id", "number"),
    Index("verifications_owner_number", "owner", "number"),
    Index("verifications_status", "status"),
)

# -- shared between API processes; nothing here is truth, all of it may be lost --------------------

key_usage = Table(
    "key_usage",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("last_used_at", DateTime(timezone=True), nullable=False),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("bucket", Text, primary_key=True, comment="what is limited, and whom"),
    Column("window_start", BigInteger, nullable=False, comment="seconds since 1970"),
    Column("taken", BigInteger, nullable=False, comment="units of this window handed out"),
    prefixes=["UNLOGGED"],
)

websocket_seats = Table(
    "websocket_seats",
    metadata,
    Column("holder", Uuid, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False, comment="renewed while the connection lives"),
    Index("websocket_seats_owner", "owner"),
    prefixes=["UNLOGGED"],
)

# -- the scheduler's own; nothing here is truth ----------------------------------------------------

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("version", Integer, nullable=False, comment="of the last event in it"),
    Column("code", Text, nullable=False, comment="the code that folded it; any other folds from the beginning"),
    Column("state", JSON, nullable=False),
)

# -- webhooks: endpoints are a view, the rest belongs to the delivery service ------------------------

webhooks = Table(
    "webhooks",
    metadata,
    Column("webhook_id", Uuid, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("topics", JSON, nullable=False),
    Column("everyone", Boolean, nullable=False),
    Column("project_id", Text),
    Column("fpga_id", Integer),
    Column("ordered", Boolean, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Text, nullable=False, comment="active, disabled or deleted"),
    Column("secret_box", Text, nullable=False, comment="encrypted; the key is not in the database"),
    Column("previous_box", Text),
    Column("rotated_at", DateTime(timezone=True)),
    Column("code", Text, comment="why it is disabled"),
    Column("message", Text),
    Column("start_position", BigInteger, nullable=False, comment="where it was registered"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
    Index("webhooks_owner", "owner"),
)

webhook_progress = Table(
    "webhook_progress",
    metadata,
    Column("webhook_id", Uuid, primary_key=True),
    Column("position", BigInteger, nullable=False, comment="what happened up to here has its deliveries"),
    Column("failing_since", DateTime(timezone=True), comment="null while the last attempt succeeded"),
    Column("replay_position", BigInteger, comment="how far a replay under way has come"),
    Column("replay_until", BigInteger),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", Uuid, primary_key=True, comment="the webhook-id header: the same for every attempt"),
    Column("webhook_id", Uuid, nullable=False),
    Column("position", BigInteger, nullable=False, comment="of the event; 0 for a ping"),
    Column("subject", Text, nullable=False, comment="the stream it is about: what `ordered` orders by"),
    Column("topic", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False, comment="pending, delivered or failed"),
    Column("attempts", Integer, nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Index("webhook_deliveries_due", "webhook_id", "status", "next_at"),
    Index("webhook_deliveries_order", "webhook_id", "subject", "position"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", Uuid, nullable=False, primary_key=True),
    Column("attempt_id", Uuid, nullable=False, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("request_headers", JSON, nullable=False, comment="without signatures"),
    Column("status_code", Integer),
    Column("response_headers", JSON),
    Column("response_body", Text, comment="its beginning"),
    Column("error", Text),
    Index("webhook_attempts_at", "at"),
)

__all__ = [
    "agents",
    "api_keys",
    "blobs",
    "boards",
    "checkpoints",
    "commands",
    "dead_letters",
    "events",
    "job_logs",
    "jobs",
    "key_usage",
    "metadata",
    "profiles",
    "projects",
    "rate_limits",
    "subscriptions",
    "verifications",
    "webhook_attempts",
    "webhook_deliveries",
    "webhook_progress",
    "webhooks",
    "websocket_seats",
]
