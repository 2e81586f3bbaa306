"""Transports: how requests and replies travel to a gateway."""
