"""Readings in PostgreSQL, in the tables `readings` and `emm_poll`."""
