"""Sign and verify transitions, policies and progress reports, with a shared key (HMAC-SHA256).

The signature is the label of an additional last dimension of the message's layout:
"hmac-sha256 <session> <stamp> <tag>". With a key, messages without a valid signature are refused.

The session here is a random number that every learner process draws; it is not the session of a
stack. A policy and a progress report are signed with the session of their learner, a transition
with that of the learner to which it is sent. So no message recorded in another session is accepted.
Within a session, a transition is accepted once, by its sequence number. Policies and progress
reports are accepted only if their stamp is later than the last one.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from std_msgs.msg import (
    Float64MultiArray,
    MultiArrayDimension,
    MultiArrayLayout,
    UInt8MultiArray,
    UInt64MultiArray,
)

from sql_ros.common.errors import SignatureError
from sql_ros.common.shared_key import read_key

SCHEME = "hmac-sha256"
KEYWORD = f"{SCHEME} "
Signed: TypeAlias = Float64MultiArray | UInt64MultiArray | UInt8MultiArray


@dataclass(frozen=True)
class SignatureInfo:
    """The content of a valid signature.

    Attributes:
        session: Session of the learner; 0 without a key.
        stamp_ns: Time of signing [ns since 1970], later than that of the signer's message before; 0
            without a key.
    """

    session: int
    stamp_ns: int


class MessageSigner:
    """Signs and verifies messages with a key.

    Without a key no message is signed, and signed messages are refused.

    Args:
        key_file: Path of the key file, see `common.shared_key`; empty: no key.

    Raises:
        ConfigError: The file cannot be read or contains no key.
    """

    def __init__(self, key_file: str) -> None:
        self._key = read_key(Path(key_file)) if key_file else None
        self._stamp_ns = 0

    @property
    def has_key(self) -> bool:
        """Return whether there is a key."""
        return self._key is not None

    def sign(self, message: Signed, session: int) -> Signed:
        """Add the signature to a message; without a key do nothing.

        Args:
            message: Message to sign; changed in place.
            session: Session of the learner, see the module.

        Returns:
            The same message.
        """
        if self._key is None:
            return message
        self._stamp_ns = max(self._stamp_ns + 1, time.time_ns())
        head = f"{KEYWORD}{session:016x} {self._stamp_ns}"
        dimensions = list(message.layout.dim)
        tag = _tag(self._key, message, [*(d.label for d in dimensions), head])
        message.layout = MultiArrayLayout(
            dim=[*dimensions, MultiArrayDimension(label=f"{head} {tag}", size=1, stride=1)]
        )
        return message

    def verify(self, message: Signed) -> SignatureInfo:
        """Verify and remove the signature. Without a key, require an unsigned message.

        Args:
            message: Received message; its signature is removed in place.

        Returns:
            Session and stamp of the signature; both are 0 without a key.

        Raises:
            SignatureError: The signature is missing or wrong, or the message is signed and there is
                no key.
        """
        *labels, last = [dimension.label for dimension in message.layout.dim] or [""]
        if self._key is None:
            if last.startswith(KEYWORD):
                raise SignatureError("it is signed, and this node has no key: parameter 'key_file'")
            return SignatureInfo(0, 0)
        words = last.split(" ")
        if len(words) != 4 or words[0] != SCHEME:
            raise SignatureError(
                "it is not signed; every node of this stack needs the parameter 'key_file'"
            )
        if not hmac.compare_digest(
            _tag(self._key, message, [*labels, " ".join(words[:3])]).encode(), words[3].encode()
        ):
            raise SignatureError(
                "its signature is wrong: the message was altered, or signed with another key"
            )
        message.layout = MultiArrayLayout(dim=list(message.layout.dim)[:-1])
        return SignatureInfo(int(words[1], 16), int(words[2]))


def new_session() -> int:
    """Return a random odd number below 2^63, as the session of a learner process."""
    return secrets.randbits(63) | 1


class FollowedLearner:
    """The learner whose progress reports and policies a process accepts.

    With a key, it is the learner of the last valid progress report. Without a key, the unsigned
    messages of any learner are accepted.

    Args:
        signer: Verifies the messages.

    Attributes:
        session: Session of that learner; 0 before the first report, and without a key.
    """

    def __init__(self, signer: MessageSigner) -> None:
        self._signer = signer
        self.session = 0
        # a running learner signs nothing older than this process
        self._progress_ns = time.time_ns()
        self._policy_ns = 0
        self._waiting_policy: UInt8MultiArray | None = None

    def verify_progress(self, message: UInt64MultiArray) -> None:
        """Verify a progress report, and follow its learner from now on (`session`).

        Args:
            message: The report; its signature is removed in place.

        Raises:
            SignatureError: The signature is missing or wrong, or its stamp is not later than that
                of the last report and the start of this process.
        """
        signature = self._signer.verify(message)
        if not self._signer.has_key:
            return
        if signature.stamp_ns <= self._progress_ns:
            text = (
                f"it was signed at {_clock(signature.stamp_ns)}, not after"
                f" {_clock(self._progress_ns)}: recorded, or clocks of hosts differ"
            )
            raise SignatureError(text)
        self._progress_ns = signature.stamp_ns
        self.session = signature.session

    def verify_policy(self, message: UInt8MultiArray) -> bool:
        """Verify a policy message.

        A policy of a learner without a progress report so far is kept for `take_waiting_policy`.

        Args:
            message: The policy. Its signature is removed in place, unless the policy is kept.

        Returns:
            Whether the policy may be used now.

        Raises:
            SignatureError: The signature is missing or wrong, the policy is of an earlier learner,
                or its stamp is not later than that of the last policy.
        """
        before = message.layout
        signature = self._signer.verify(message)
        if not self._signer.has_key:
            return True
        if signature.session != self.session:
            if signature.stamp_ns < self._progress_ns and self.session:
                raise SignatureError("it is from an earlier learner, or recorded")
            message.layout = before
            self._waiting_policy = message
            return False
        if signature.stamp_ns <= self._policy_ns:
            raise SignatureError(
                f"it was signed at {_clock(signature.stamp_ns)}, and the last one at"
                f" {_clock(self._policy_ns)}: recorded"
            )
        self._policy_ns = signature.stamp_ns
        return True

    def take_waiting_policy(self) -> UInt8MultiArray | None:
        """Return the policy that was kept until its learner sends progress, and forget it.

        Returns:
            The policy message, still signed; None if none was kept.
        """
        waiting = self._waiting_policy
        self._waiting_policy = None
        return waiting


def _tag(key: bytes, message: Signed, labels: list[str]) -> str:
    """Return the HMAC-SHA256 of labels and data, as hex digits.

    Args:
        key: The key.
        message: Message with the data.
        labels: Labels of the dimensions, then the signature without its tag. Each is hashed with
            its length before it.
    """
    parts = [label.encode() for label in labels]
    head = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    digest = hmac.new(key, head, "sha256")
    digest.update(memoryview(message.data))
    return digest.hexdigest()


def _clock(stamp_ns: int) -> str:
    """Return a time [ns since 1970] as text in UTC."""
    return datetime.fromtimestamp(stamp_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")
