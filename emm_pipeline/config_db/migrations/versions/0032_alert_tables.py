"""The tables of alerts get the names that the code uses: `alerts` and `alert_lines`. They keep their rows."""

from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Rename the tables, and what carries their names."""
    op.execute("ALTER TABLE troubles RENAME TO alerts")
    op.execute("ALTER INDEX troubles_pkey RENAME TO alerts_pkey")
    op.execute("ALTER TABLE mail_lines RENAME TO alert_lines")
    op.execute("ALTER INDEX mail_lines_pkey RENAME TO alert_lines_pkey")
    op.execute("ALTER SEQUENCE mail_lines_id_seq RENAME TO alert_lines_id_seq")
    op.execute("ALTER TABLE alert_lines RENAME COLUMN begun TO raised")
