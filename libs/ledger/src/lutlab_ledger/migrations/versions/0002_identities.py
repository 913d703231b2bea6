"""Scopes, teams, expiry and rotation of keys; what API processes share: last use, rate limits, WebSocket seats.

Every new column of `api_keys` may be null, so that a scheduler of the version before goes on writing rows.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_identities"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new."""
    op.add_column("api_keys", sa.Column("scopes", postgresql.JSON()))
    op.add_column("api_keys", sa.Column("team", sa.Text()))
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column("api_keys", sa.Column("previous_sha256", sa.Text()))
    op.add_column("api_keys", sa.Column("previous_until", sa.DateTime(timezone=True)))
    op.create_index("api_keys_previous", "api_keys", ["previous_sha256"])
    op.create_index("api_keys_team", "api_keys", ["team"])
    op.create_table(
        "key_usage",
        sa.Column("key_id", sa.Uuid(), primary_key=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "rate_limits",
        sa.Column("bucket", sa.Text(), primary_key=True),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "websocket_seats",
        sa.Column("holder", sa.Uuid(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_index("websocket_seats_owner", "websocket_seats", ["owner"])


def downgrade() -> None:
    """Remove it again."""
    op.drop_table("websocket_seats")
    op.drop_table("rate_limits")
    op.drop_table("key_usage")
    op.drop_index("api_keys_team", "api_keys")
    op.drop_index("api_keys_previous", "api_keys")
    for column in ("previous_until", "previous_sha256", "expires_at", "team", "scopes"):
        op.drop_column("api_keys", column)
