"""Every error this package raises on purpose.

::

    SqlRosError
     +-- ConfigError       a file, a parameter or an argument: the process stops at start, exit code 2
     +-- MessageError      a message on a topic: dropped, counted on /diagnostics, warned about at most once a second
     |    +-- SignatureError   it is not from whom it should be
     +-- PolicyError       an exported policy: refused, the one in use is kept
     +-- CheckpointError   a checkpoint that is damaged or does not fit
     +-- LedgerError       a file of transitions that is damaged, in use, or cannot be written

A message says what came, what was expected and where to look.
"""

CONFIG_EXIT_CODE = 2  # of a node or a command that was configured wrongly


LONGEST_TEXT = 1000  # characters; what came from outside and is quoted may be of any length


class SqlRosError(Exception):
    """Base of all errors raised on purpose by sql_ros."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ... ({len(text)} characters in all)")


class ConfigError(SqlRosError):
    """A configuration value is unknown, of the wrong type or out of range."""


class MessageError(SqlRosError):
    """A message does not have the layout this version of sql_ros speaks."""


class SignatureError(MessageError):
    """A message is not signed as it must be, or was recorded and sent again."""


class PolicyError(SqlRosError):
    """A policy file or message must not be used."""


class CheckpointError(SqlRosError):
    """A checkpoint is missing, damaged or belongs to another task."""


class LedgerError(SqlRosError):
    """A file of records is damaged, in use by another process, or cannot be written.

    Attributes:
        damaged: no other attempt will do.
    """

    def __init__(self, text: str, *, damaged: bool = False) -> None:
        super().__init__(text)
        self.damaged = damaged
