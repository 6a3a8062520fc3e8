"""The errors that are meant for users: one line that says what is wrong and what would be right."""


class UserError(Exception):
    """Something the user can put right; the commands print it as one line and exit with code 2."""


class ConfigError(UserError):
    """A hyperparameter, or a pair of them, that cannot be trained with.

    Attributes:
        field: name of the offending field of the configuration.
        value: the value it was given.
        reason: what would be right, as the end of the sentence "FIELD = VALUE: ...".
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(f"{field} = {value!r}: {reason}")
        self.field = field
        self.value = value
        self.reason = reason

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, object, str]]:
        """Lets the error come back from another process."""
        return type(self), (self.field, self.value, self.reason)


class UnknownNameError(ConfigError, KeyError):
    """A name of something that is not there, see `trainable.registry.Registry`."""

    def __str__(self) -> str:
        """Returns the whole sentence; a `KeyError` would show it in quotes."""
        return str(self.args[0])


class VideoError(UserError):
    """A video that cannot be read or decoded, or a folder of videos that cannot be understood.

    Attributes:
        log: what the decoder said of it, line by line.
    """

    def __init__(self, message: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log = log

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, tuple[str, ...]]]:
        """Lets the error come back from another process."""
        return type(self), (str(self), self.log)


class StoreError(UserError):
    """A clip store that is missing, damaged, unfinished, or of another format version."""


class CheckpointError(UserError):
    """A checkpoint or an exported encoder that is damaged or belongs to another configuration."""
