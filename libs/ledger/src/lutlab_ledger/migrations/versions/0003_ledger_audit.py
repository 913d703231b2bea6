"""Audit: dead letters, refused commands by code, stronger immutability; scheduling: priorities, labels, service.

New columns of views may be null, so that a scheduler of the version before goes on writing its rows.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ledger_audit"
down_revision = "0002_webhooks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new, and close the ways around the append-only trigger."""
    op.create_table(
        "dead_letters",
        sa.Column("letter_id", sa.Uuid(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replayed_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("letter_id"),
    )
    op.create_index("dead_letters_arrived", "dead_letters", ["arrived_at"], unique=False)
    op.create_index("commands_received", "commands", ["received_at"], unique=False)
    # Appends pay for indexes: only refusals are found by code, and time runs with the position: a BRIN index will do.
    refused = sa.text("code <> 'ok'")
    op.create_index("commands_refused", "commands", ["code", "received_at"], unique=False, postgresql_where=refused)
    op.create_index("events_at", "events", ["at"], unique=False, postgresql_using="brin")
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("labels", postgresql.JSON(), nullable=True))
    op.add_column("boards", sa.Column("service", sa.Text(), nullable=True))
    op.add_column("boards", sa.Column("service_reason", sa.Text(), nullable=True))
    op.execute(
        "create trigger commands_never_change before update or delete on commands "
        "for each row execute function lutlab_refuse_change()"
    )
    # `session_replication_role = replica` switches ordinary triggers off; these fire even then.
    for table, trigger in (
        ("events", "events_append_only"),
        ("events", "events_no_truncate"),
        ("commands", "commands_never_change"),
    ):
        op.execute(f"alter table {table} enable always trigger {trigger}")
    # The owner of a table could grant this back to itself, but not by accident; superusers need the triggers.
    op.execute(
        """
        do $$ begin
            revoke update, delete, truncate on events, commands from public;
            execute format('revoke update, delete, truncate on events, commands from %I', current_user);
        end $$
        """
    )
