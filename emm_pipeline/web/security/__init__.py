"""The rights of senders: sessions, passwords, tokens of programs, and the check of every request."""
