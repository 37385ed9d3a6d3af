"""The tree of errors that this package raises on purpose.

::

    SqlRosError
     +-- ConfigError         wrong file, parameter or argument: the process ends with exit code 2
     +-- MessageError        wrong message: dropped, counted on /diagnostics, throttled warning
     |    +-- SignatureError   its signature is missing, wrong or old
     +-- PolicyError         wrong exported policy: refused, the policy in use stays
     +-- CheckpointError     checkpoint that is damaged or does not fit
     +-- LedgerError         transition log that is damaged, in use, or cannot be written

The text of an error says what came, what was expected and where to look.
"""

CONFIG_EXIT_CODE = 2  # of a node or a command that was configured wrongly
LONGEST_TEXT = 1000  # characters; a text may quote input of any length


class SqlRosError(Exception):
    """Base class of all errors that sql_ros raises on purpose.

    Args:
        text: Text of the error, cut off after `LONGEST_TEXT` characters.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(
            text
            if len(text) <= LONGEST_TEXT
            else f"{text[:LONGEST_TEXT]} ... ({len(text)} characters in all)"
        )


class ConfigError(SqlRosError):
    """A configuration value is unknown, of the wrong type or out of range."""


class MessageError(SqlRosError):
    """A message does not have the layout that this version of sql_ros expects."""


class SignatureError(MessageError):
    """A message is not signed as required, or was recorded and sent again."""


class PolicyError(SqlRosError):
    """A policy file or message must not be used."""


class CheckpointError(SqlRosError):
    """A checkpoint is missing, damaged or belongs to another task."""


class LedgerError(SqlRosError):
    """A transition log is damaged, in use by another process, or cannot be written.

    Args:
        text: Text of the error.
        damaged: Whether the file is damaged, so that another attempt fails, too.

    Attributes:
        damaged: Whether the file is damaged.
    """

    def __init__(self, text: str, *, damaged: bool = False) -> None:
        super().__init__(text)
        self.damaged = damaged
