"""What `emm types install` has written, so that it can tell a person's changes from its own."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make `installed_types`."""
    op.execute("""
        CREATE TABLE installed_types (
            type text PRIMARY KEY,
            content text NOT NULL,
            installed_at timestamptz NOT NULL
        )
    """)
