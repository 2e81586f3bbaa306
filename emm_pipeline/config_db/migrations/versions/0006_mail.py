"""Create the tables of alerts that were mailed, and of lines that wait to be mailed."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create both tables."""
    op.execute("""
        CREATE TABLE troubles (
            subject text PRIMARY KEY,
            name text NOT NULL,
            since timestamptz NOT NULL,
            reason text NOT NULL
        )
    """)
    op.execute("""
        CREATE TABLE mail_lines (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL DEFAULT now(),
            begun boolean NOT NULL,
            line text NOT NULL
        )
    """)
