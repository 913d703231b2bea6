"""An owner's builds at hand, among all its runs and resets: what it has stored is counted from them."""

import sqlalchemy as sa
from alembic import op

revision = "storage"
down_revision = "verification"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "jobs_owner_sources",
        "jobs",
        ["owner"],
        unique=False,
        postgresql_where=sa.text("source_digest is not null"),
    )
