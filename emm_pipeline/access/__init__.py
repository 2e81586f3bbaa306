"""The stack's credentials: random ones in place of the published examples, what the servers accept, and rotation."""
