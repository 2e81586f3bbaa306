"""The readings store PostgreSQL, with the tables `readings` and `emm_poll`."""
