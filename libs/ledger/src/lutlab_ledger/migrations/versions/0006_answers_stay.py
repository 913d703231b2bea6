"""Recorded answers to commands cannot be truncated either, not even by a superuser."""

from alembic import op

revision = "answers_stay"
down_revision = "storage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the trigger that `events` has had from the beginning; it fires in every mode."""
    op.execute(
        "create trigger commands_no_truncate before truncate on commands "
        "for each statement execute function lutlab_refuse_change()"
    )
    op.execute("alter table commands enable always trigger commands_no_truncate")
