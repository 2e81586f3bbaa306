"""Generates parts of the documents from the code: `make docs` writes them, a test compares them."""
