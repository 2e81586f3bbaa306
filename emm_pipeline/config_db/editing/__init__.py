"""Rows of the configuration database as people and the catalogue change them."""
