"""Errors: permanent ones, which a person must correct, and transient ones, for which a retry may help."""


class EmmError(Exception):
    """Base class of EMM's own errors. The message is one line and may be shown to users."""


class ConfigurationError(EmmError):
    """A setting or a row that a person has to correct. A retry does not help."""


class TransientError(EmmError):
    """A device, a database or a store did not answer, or answered with an error. A retry may help."""


class ConfigDatabaseError(TransientError):
    """The configuration database could not be reached or queried. Callers must not treat this as "no meters"."""


class StoreError(TransientError):
    """The readings store did not accept a batch, and may accept it later.

    `retry_after_s` is the pause that the store asked for; 0 if it did not ask for one.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreAccessError(StoreError):
    """The readings store answers, but rejects all points until a person corrects token, bucket, tables or rights."""


class OutboxError(TransientError):
    """The outbox's folder could not be read or written: the disk is full, or the folder is missing or not permitted."""


class AlertError(TransientError):
    """A channel did not accept a message about alerts."""


class BrokerError(TransientError):
    """The MQTT broker cannot be reached, refuses the login, or has closed the connection."""
