"""Lines of alerts by channel: each channel receives each line, and an unavailable one does not delay the others."""

from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Add the column. Lines that are already waiting belong to the channel `mail`."""
    op.execute("ALTER TABLE mail_lines ADD COLUMN IF NOT EXISTS channel text NOT NULL DEFAULT 'mail'")
