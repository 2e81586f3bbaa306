"""Alembic's script directory: the migrations, one revision per file."""
