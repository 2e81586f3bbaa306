"""The stack's credentials: create random ones in place of the published examples, apply them, and rotate them."""
