"""Fixtures to come."""
