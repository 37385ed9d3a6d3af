"""Messages of the topic `replay`: a transition and its origin."""

from __future__ import annotations

import array
import struct
from dataclasses import dataclass

import numpy as np
from rclpy.serialization import serialize_message
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, MultiArrayLayout

from sql_ros.common.errors import MessageError
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.policy.transition import LARGEST_INPUT, LARGEST_REWARD, Transition
from sql_ros.robot.arm import Vector

TRANSITION_FIELDS = (
    "actor",
    "run",
    "episode",
    "step",
    "sequence",
    "oldest",
    "policy_version",
    "reward",
    "terminated",
    "truncated",
)
# number of transitions after which an actor in lockstep waits for the learner: 2.5 s at 20 Hz
LOCKSTEP_TRANSITIONS = 50


@dataclass(frozen=True)
class ReplayEntry:
    """A transition and its origin.

    Attributes:
        actor: Parameter `actor_id` of the actor.
        run: Run number, which identifies the actor's process.
        episode: Number of the episode of this actor, from 0.
        step: Number of the transition in the episode, from 0.
        sequence: Sequence number of the transition in the process, from 1.
        policy_version: Version of the policy that selected the action; 0 for uniform exploration.
        transition: The transition.
        oldest: Sequence number of the oldest transition that the actor still keeps and can send.
    """

    actor: int
    run: int
    episode: int
    step: int
    sequence: int
    policy_version: int
    transition: Transition
    oldest: int = 1

    @property
    def is_waited_for(self) -> bool:
        """Return whether an actor in lockstep waits until this transition is trained on.

        An actor waits at the end of an episode, and after every `LOCKSTEP_TRANSITIONS`.
        """
        return (
            self.transition.terminated
            or self.transition.truncated
            or self.sequence % LOCKSTEP_TRANSITIONS == 0
        )


class TransitionCodec:
    """Converts transitions of one task to messages and back.

    A transition is packed to bytes once (`pack`) and kept. Each time it is sent, the bytes become a
    message (`wrap`, `serialize`), in which only the number of the oldest transition is new.

    Args:
        spec: Interface of the task, with the sizes of observation and action.
    """

    def __init__(self, spec: TaskSpec) -> None:
        observation = spec.observation_size
        action = spec.action_size
        self._sizes = (observation, action, observation)
        self._count = len(TRANSITION_FIELDS) + sum(self._sizes)
        inputs = LARGEST_INPUT * np.abs(spec.observation_scale)
        self._largest = np.concatenate(
            (np.full(len(TRANSITION_FIELDS), np.inf), inputs, np.ones(action), inputs)
        )
        self._largest[TRANSITION_FIELDS.index("reward")] = LARGEST_REWARD
        names = (
            f"{' '.join(TRANSITION_FIELDS)} observation[{observation}] action[{action}]"
            f" next_observation[{observation}]"
        )
        self._label = f"sql_ros.transition/2 {names}"
        self._schema = f"schema {spec.schema_hash}"
        content = MultiArrayDimension(label=self._label, size=self._count, stride=self._count)
        self._layout = MultiArrayLayout(
            dim=[content, MultiArrayDimension(label=self._schema, size=1, stride=1)]
        )
        self._head = bytes(serialize_message(self.wrap(bytes(8 * self._count), 0)))[
            : -8 * self._count
        ]

    def pack(self, entry: ReplayEntry) -> bytes:
        """Return the bytes of an entry: the doubles of a message, in the order of its label.

        Args:
            entry: The entry.

        Raises:
            MessageError: A value is larger than the learner accepts.
        """
        e = entry
        t = entry.transition
        head = (
            e.actor,
            e.run,
            e.episode,
            e.step,
            e.sequence,
            e.oldest,
            e.policy_version,
            t.reward,
            t.terminated,
            t.truncated,
        )
        values = np.concatenate((head, t.observation, t.action, t.next_observation))
        self._check_sizes(values)
        return values.tobytes()

    def unpack(self, content: bytes) -> ReplayEntry:
        """Return the entry of packed bytes.

        Args:
            content: Result of `pack`, perhaps damaged.

        Raises:
            MessageError: The length or a value is wrong.
        """
        return self._check(np.frombuffer(content[: len(content) // 8 * 8], np.float64))

    def wrap(self, content: bytes, oldest: int) -> Float64MultiArray:
        """Return a message of packed bytes.

        Args:
            content: Result of `pack`.
            oldest: Sequence number of the oldest transition that is still kept.
        """
        message = Float64MultiArray(layout=self._layout, data=array.array("d", content))
        message.data[TRANSITION_FIELDS.index("oldest")] = oldest
        return message

    def serialize(self, content: bytes, oldest: int) -> bytes:
        """Return what `wrap` returns as a serialised message; faster, without rclpy's conversion.

        Args:
            content: Result of `pack`.
            oldest: Sequence number of the oldest transition that is still kept.
        """
        at = 8 * TRANSITION_FIELDS.index("oldest")
        return b"".join((self._head, content[:at], struct.pack("d", oldest), content[at + 8 :]))

    def to_msg(self, entry: ReplayEntry) -> Float64MultiArray:
        """Convert an entry to a message.

        Raises:
            MessageError: A value is larger than the learner accepts.
        """
        return self.wrap(self.pack(entry), entry.oldest)

    def from_msg(self, message: Float64MultiArray) -> ReplayEntry:
        """Check a message, and convert it to an entry.

        Args:
            message: Received message, without a signature.

        Raises:
            MessageError: The version, the schema of the task, the length or a value is wrong.
        """
        labels = [dimension.label for dimension in message.layout.dim]
        values = np.frombuffer(message.data, np.float64)
        if len(labels) != 2 or labels[0].split(" ")[0] != "sql_ros.transition/2":
            raise MessageError(
                f"transition has labels {labels}, expected 'sql_ros.transition/2 ...': another"
                " version?"
            )
        if labels[1] != self._schema or labels[0] != self._label:
            raise MessageError(
                f"transition has '{labels[1]}', expected '{self._schema}': actor and learner"
                " disagree on the task"
            )
        return self._check(values)

    def _check(self, values: Vector) -> ReplayEntry:
        """Check the values of a transition, and convert them to an entry.

        Args:
            values: Doubles in the order of the label.

        Raises:
            MessageError: The length is wrong, or a value is not finite as float32 or not in its
                range.
        """
        if len(values) != self._count:
            parts = (
                f"2 x {self._sizes[0]} observation + {self._sizes[1]} action +"
                f" {len(TRANSITION_FIELDS)}"
            )
            raise MessageError(
                f"transition has {len(values)} values, expected {self._count} ({parts})"
            )
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32))  # the buffer's type
        if not finite.all():
            raise MessageError(
                "transition has values that are not finite as float32 at"
                f" {np.flatnonzero(~finite).tolist()}"
            )
        self._check_sizes(values)
        return self._unpack(values)

    def _check_sizes(self, values: Vector) -> None:
        """Check that no value is larger than the learner accepts.

        Args:
            values: Doubles in the order of the label.

        Raises:
            MessageError: A value is larger.
        """
        fits = np.abs(values) <= self._largest
        if not fits.all():
            at = np.flatnonzero(~fits)
            raise MessageError(
                f"transition has {values[at]} at {at.tolist()}, expected [-x, x] with x ="
                f" {self._largest[at]}"
            )

    def _unpack(self, values: Vector) -> ReplayEntry:
        """Convert values to an entry.

        Args:
            values: Doubles in the order of the label, of the right length and within range.

        Raises:
            MessageError: A count is no whole number, a flag is neither 0 nor 1, or `oldest` is
                after `sequence`.
        """
        *counts, reward, terminated, truncated = values[: len(TRANSITION_FIELDS)].tolist()
        if any(count < 0 or count != int(count) for count in counts):
            raise MessageError(f"transition has counts {counts}, expected whole numbers")
        actor, run, episode, step, sequence, oldest, version = (int(count) for count in counts)
        if not 1 <= oldest <= sequence:
            raise MessageError(
                f"transition has sequence {sequence} and oldest {oldest}, expected both from 1, the"
                " oldest no later"
            )
        if not {terminated, truncated} <= {0.0, 1.0}:
            raise MessageError(
                f"transition has terminated {terminated} and truncated {truncated}, expected 0 or 1"
            )
        bounds = np.cumsum(self._sizes)[:-1]
        observation, action, following = np.split(
            values[len(TRANSITION_FIELDS) :].astype(np.float32), bounds
        )
        transition = Transition(
            observation, action, reward, following, bool(terminated), bool(truncated)
        )
        return ReplayEntry(actor, run, episode, step, sequence, version, transition, oldest)
