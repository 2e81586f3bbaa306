"""The revisions, in order. Never change one that was released: add another."""
