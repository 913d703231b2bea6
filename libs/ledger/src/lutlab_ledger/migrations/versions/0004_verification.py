"""Verification: projects, jobs of stages, and how important a log line is.

The new column of `job_logs` may be null, so that a scheduler of the version before goes on writing its rows.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "verification"
down_revision = "ledger_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what is new."""
    op.create_table(
        "projects",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("top_module", sa.Text(), nullable=False),
        sa.Column("target_pdk", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("files", postgresql.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id"),
    )
    op.create_index("projects_owner_name", "projects", ["owner", "name"], unique=False)
    op.create_table(
        "verifications",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stages", postgresql.JSON(), nullable=False),
        sa.Column("current_stage", sa.Text(), nullable=True),
        sa.Column("records", postgresql.JSON(), nullable=False),
        sa.Column("config_overrides", postgresql.JSON(), nullable=False),
        sa.Column("files_digest", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("builder_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
        sa.UniqueConstraint("number"),
    )
    op.create_index("verifications_project_number", "verifications", ["project_id", "number"], unique=False)
    op.create_index("verifications_owner_number", "verifications", ["owner", "number"], unique=False)
    op.create_index("verifications_status", "verifications", ["status"], unique=False)
    op.add_column("job_logs", sa.Column("level", sa.Text(), nullable=True))
