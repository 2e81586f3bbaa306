"""Errors, grouped by who must act: a person (permanent) or time (transient)."""


class EmmError(Exception):
    """Base of every error that EMM raises on purpose. Its text is one line, fit to be shown."""


class ConfigurationError(EmmError):
    """Something a person has to correct: a setting, a row. Trying again changes nothing."""


class TransientError(EmmError):
    """A device, a database or a store did not answer as it should. Trying again may help."""


class ConfigDatabaseError(TransientError):
    """The configuration database could not be reached or queried. Never to be read as "no meters"."""


class StoreError(TransientError):
    """The readings store did not take a batch, and may take it later.

    `retry_after_s` is how long the store asked to be left alone, where it said so.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreAccessError(StoreError):
    """The readings store answers, and lets nothing in before a person has acted: token, bucket, tables, rights."""


class OutboxError(TransientError):
    """The outbox's folder could not be read or written: full, gone, or closed to this user."""


class AlertError(TransientError):
    """A channel did not accept a message about alerts."""
