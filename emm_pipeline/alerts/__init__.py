"""Alerts: the rules that raise and resolve them, their state, and the mail that reports them."""
