"""Webhook endpoints, and what the delivery service keeps about them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_webhooks"
down_revision = "0002_identities"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Add four tables."""
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.Uuid(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("topics", postgresql.JSON(), nullable=False),
        sa.Column("everyone", sa.Boolean(), nullable=False),
        sa.Column("project_id", sa.Text()),
        sa.Column("fpga_id", sa.Integer()),
        sa.Column("ordered", sa.Boolean(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("secret_box", sa.Text(), nullable=False),
        sa.Column("previous_box", sa.Text()),
        _time("rotated_at", nullable=True),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("start_position", sa.BigInteger(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_index("webhooks_owner", "webhooks", ["owner"])
    op.create_table(
        "webhook_progress",
        sa.Column("webhook_id", sa.Uuid(), primary_key=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        _time("failing_since", nullable=True),
        sa.Column("replay_position", sa.BigInteger()),
        sa.Column("replay_until", sa.BigInteger()),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("delivery_id", sa.Uuid(), primary_key=True),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _time("next_at"),
        _time("created_at"),
        _time("updated_at"),
    )
    op.create_index("webhook_deliveries_due", "webhook_deliveries", ["webhook_id", "status", "next_at"])
    op.create_index("webhook_deliveries_order", "webhook_deliveries", ["webhook_id", "subject", "position"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.Uuid(), primary_key=True),
        sa.Column("attempt_id", sa.Uuid(), primary_key=True),
        _time("at"),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("request_headers", postgresql.JSON(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("response_headers", postgresql.JSON()),
        sa.Column("response_body", sa.Text()),
        sa.Column("error", sa.Text()),
    )
    op.create_index("webhook_attempts_at", "webhook_attempts", ["at"])


def downgrade() -> None:
    """Remove them again."""
    for table in ("webhook_attempts", "webhook_deliveries", "webhook_progress", "webhooks"):
        op.drop_table(table)
