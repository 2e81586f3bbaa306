"""An embedded PostgreSQL server for `emm demo` and the tests, which needs no installed server."""

from emm_pipeline.embedded_postgres.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
