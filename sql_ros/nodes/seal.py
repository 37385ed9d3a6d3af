"""Who speaks: with a key file, transitions, policies and progress are signed (HMAC-SHA256), and what is not is refused.

The signature is the label of one more dimension, the last: "hmac-sha256 <session> <stamp> <tag>". Its session is a number that every
learner process draws and tells by its progress. A transition is signed for the session that it is sent to, and a policy by the one that it
comes from, so that nothing recorded in another session is taken. Within one, a transition counts once by its sequence number, policies
and progress only if they are stamped later than the last.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout, UInt8MultiArray, UInt64MultiArray

from sql_ros.core.errors import SignatureError
from sql_ros.core.keys import read_key

SCHEME = "hmac-sha256"
KEYWORD = f"{SCHEME} "
Signed = Float64MultiArray | UInt64MultiArray | UInt8MultiArray


@dataclass(frozen=True)
class Mark:
    """What a signature says besides being right: the learner's session, and when it was made [ns since 1970, rising]."""

    session: int
    stamp_ns: int


class Seal:
    """Signs and checks by a key; without one it signs nothing and takes nothing that is signed.

    Args:
        key_file: see `core.keys`; empty: none.

    Raises:
        ConfigError: there is no key in it.
    """

    def __init__(self, key_file: str) -> None:
        self._key = read_key(Path(key_file)) if key_file else None
        self._stamp_ns = 0

    @property
    def is_used(self) -> bool:
        """There is a key."""
        return self._key is not None

    def sign(self, message: Signed, session: int) -> Signed:
        """Adds the signature, if there is a key; returns the message."""
        if self._key is None:
            return message
        self._stamp_ns = max(self._stamp_ns + 1, time.time_ns())
        head = f"{KEYWORD}{session:016x} {self._stamp_ns}"
        dimensions = list(message.layout.dim)
        tag = _tag(self._key, message, [*(d.label for d in dimensions), head])
        message.layout = MultiArrayLayout(dim=[*dimensions, MultiArrayDimension(label=f"{head} {tag}", size=1, stride=1)])
        return message

    def open(self, message: Signed) -> Mark:
        """Checks the signature and takes it off; without a key only that there is none.

        Raises:
            SignatureError: says what is wrong.
        """
        *labels, last = [dimension.label for dimension in message.layout.dim] or [""]
        if self._key is None:
            if last.startswith(KEYWORD):
                raise SignatureError("it is signed, and this node has no key: parameter 'key_file'")
            return Mark(0, 0)
        words = last.split(" ")
        if len(words) != 4 or words[0] != SCHEME:
            raise SignatureError("it is not signed; whoever may speak here has the parameter 'key_file'")
        if not hmac.compare_digest(_tag(self._key, message, [*labels, " ".join(words[:3])]).encode(), words[3].encode()):
            raise SignatureError("its signature is wrong: altered on the way, or made with another key")
        message.layout = MultiArrayLayout(dim=list(message.layout.dim)[:-1])
        return Mark(int(words[1], 16), int(words[2]))


def new_session() -> int:
    """Of a learner's process."""
    return secrets.randbits(63) | 1


class Followed:
    """The learner whose progress and policies a process takes.

    Args:
        seal: checks them.

    Attributes:
        session: of the learner that was heard last; 0: of none yet.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self.session = 0
        self._progress_ns = time.time_ns()  # nothing older than this process can be from a learner that is there now
        self._policy_ns = 0
        self._held: UInt8MultiArray | None = None

    def open_progress(self, message: UInt64MultiArray) -> None:
        """Checks progress, and follows the learner that it is from.

        Raises:
            SignatureError: it must not be used.
        """
        mark = self._seal.open(message)
        if not self._seal.is_used:
            return
        if mark.stamp_ns <= self._progress_ns:
            text = f"it was made at {_clock(mark.stamp_ns)}, and not after {_clock(self._progress_ns)}: recorded, or clocks of hosts differ"
            raise SignatureError(text)
        self._progress_ns = mark.stamp_ns
        self.session = mark.session

    def open_policy(self, message: UInt8MultiArray) -> bool:
        """Checks a policy; False: its learner has not been heard yet, and it is held until then.

        Raises:
            SignatureError: it must not be used.
        """
        before = message.layout
        mark = self._seal.open(message)
        if not self._seal.is_used:
            return True
        if mark.session != self.session:
            if mark.stamp_ns < self._progress_ns and self.session:
                raise SignatureError("it is from a learner that is not there any more, or recorded")
            message.layout, self._held = before, message
            return False
        if mark.stamp_ns <= self._policy_ns:
            raise SignatureError(f"it was made at {_clock(mark.stamp_ns)}, and the last one at {_clock(self._policy_ns)}: recorded")
        self._policy_ns = mark.stamp_ns
        return True

    def take_held(self) -> UInt8MultiArray | None:
        """The policy that is held, once: after progress that may be from its learner."""
        held, self._held = self._held, None
        return held


def _tag(key: bytes, message: Signed, labels: list[str]) -> str:
    """Of the labels, each with its length before it, and of the data."""
    parts = [label.encode() for label in labels]
    head = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    digest = hmac.new(key, head, "sha256")
    digest.update(memoryview(message.data))
    return digest.hexdigest()


def _clock(stamp_ns: int) -> str:
    return datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")
