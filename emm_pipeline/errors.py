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
    """The readings store did not take a batch, and may take it later."""


class RefusedPointsError(EmmError):
    """The readings store refused a batch for what it contains, and will refuse it again."""
