"""Tables of the web page: accounts, tokens of programs, and the log of changes."""

from alembic import op

revision = "0060"
down_revision = "0040"


def upgrade() -> None:
    """Create the tables. The stack's role that only reads rows for `emm mqtt` may not read these."""
    op.execute("""
        CREATE TABLE web_accounts (
            name text PRIMARY KEY,
            password_hash text NOT NULL,
            replaces text,
            may_change boolean NOT NULL DEFAULT true,
            changed_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE TABLE web_tokens (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL,
            digest text NOT NULL,
            may_change boolean NOT NULL DEFAULT false,
            created_by text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            last_used_at timestamptz
        );
        CREATE UNIQUE INDEX web_tokens_digest ON web_tokens (digest);
        CREATE TABLE web_changes (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            at timestamptz NOT NULL DEFAULT now(),
            who text NOT NULL,
            address text NOT NULL,
            action text NOT NULL,
            subject text NOT NULL,
            before text,
            after text
        )
    """)
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_database() || '_reader') THEN
                EXECUTE format(
                    'REVOKE ALL ON web_accounts, web_tokens, web_changes FROM %I', current_database() || '_reader'
                );
            END IF;
        END $$
    """)
