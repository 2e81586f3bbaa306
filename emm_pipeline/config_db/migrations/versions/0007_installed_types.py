"""Create the table of the rows that `emm types install` wrote, so that it can recognize a person's changes."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create `installed_types`."""
    op.execute("""
        CREATE TABLE installed_types (
            type text PRIMARY KEY,
            content text NOT NULL,
            installed_at timestamptz NOT NULL
        )
    """)
