"""A PostgreSQL server of one's own, for `emm demo` and the tests, with no server installed beforehand."""

from emm_pipeline.embedded_postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
