"""Add, change and remove rows of the configuration database, for people and for the catalogue."""
