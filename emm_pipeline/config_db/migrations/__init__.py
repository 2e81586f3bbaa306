"""Alembic's script directory: how the tables came to be, one revision per file."""
