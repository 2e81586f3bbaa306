"""Lines of alerts by channel: each channel gets each line, and one that is away does not hold up the others."""

from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Add the column; lines that wait already are of the mail."""
    op.execute("ALTER TABLE mail_lines ADD COLUMN IF NOT EXISTS channel text NOT NULL DEFAULT 'mail'")
