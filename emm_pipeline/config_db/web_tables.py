"""The tables of the web page: accounts, tokens of programs, and the log of changes."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Table, Text, text

from emm_pipeline.config_db.state_tables import metadata

web_accounts = Table(
    "web_accounts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("replaces", Text),
    Column("may_change", Boolean, nullable=False, server_default=text("true")),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
"""Passwords (argon2id) that a person has set. `replaces` is a digest of the WEB_LOGIN_PASSWORD that the row replaces:
once the setting has another value, the setting applies again. It is null for accounts other than WEB_LOGIN_USER."""

web_tokens = Table(
    "web_tokens",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("may_change", Boolean, nullable=False, server_default=text("false")),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("last_used_at", DateTime(timezone=True)),
)
"""Tokens with which programs use the API; `digest` is the SHA-256 of a token, which is random and stored nowhere."""

web_tokens_digest = Index("web_tokens_digest", web_tokens.c.digest, unique=True)

web_changes = Table(
    "web_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("who", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
)
"""The audit log: who changed what through the page or the API, from which address. `before` and `after` are JSON."""
