"""Every message layout of sql_ros: standard types only, with a version and the names of the values
in the dimension labels.

====================  ======================  =====================================================================
topic                 type                    content
====================  ======================  =====================================================================
joint_states          JointState              the arm; mapped by joint name, see `state_reader.py`
~/commands            Float64MultiArray       one value per joint in command order; dim 0 labels mode and joints, dim 1
                                              (optional) the stamp of the state it answers; other
                                              types: `adapters.py`
replay                Float64MultiArray       one transition: `TRANSITION_FIELDS`, observation, action, next observation
policy                UInt8MultiArray         an ONNX file; dim 0 labels its SHA-256
actor/goal            PoseStamped             wanted position of the tool, in mode play; see `goal_intake.py`
actor/goal_status     String                  result of the goal, latched
learner/progress      UInt64MultiArray        `PROGRESS_FIELDS`, and what is acknowledged of every actor process; dim 1 labels the
                                              session. It is sent while the learner is active, so
                                                  that
                                              it has accepted the run
actor/episodes        Float64MultiArray       `EPISODE_FIELDS`
target                PoseStamped             of the episode that begins, in the base frame; a simulation puts its goal there
sim_bridge/disturb    Float64MultiArray       `DISTURBANCE_FIELDS`; dim 1 labels its kind and the body; acts on the simulated arm at once
/sql_ros/claims       UInt64MultiArray        `CLAIM_FIELDS`; dims 1 to 4 label node, command topic, session and process: a sign of life
trials/prompt         String                  what an operator is to do now; empty: nothing
====================  ======================  =====================================================================

`<x>_to_msg` converts to a message. `<x>_from_msg` checks a message, and raises `MessageError` for a
wrong length, a value that is not finite or too large for the networks, an unknown version, and
another schema. Nothing is unpickled.
"""  # noqa: E501

from __future__ import annotations

import array
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import (
    Float64MultiArray,
    MultiArrayDimension,
    MultiArrayLayout,
    UInt8MultiArray,
    UInt64MultiArray,
)

from sql_ros.common.errors import MessageError
from sql_ros.nodes.claims import Claim
from sql_ros.policy.runtime import LARGEST_FILE
from sql_ros.policy.task_spec import TaskSpec
from sql_ros.policy.transition import LARGEST_INPUT, LARGEST_REWARD, Transition
from sql_ros.robot.arm import Vector
from sql_ros.robot.control.step import EpisodeSummary
from sql_ros.trials.disturbance import Disturbance

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
# run and sequence of every actor process follow
PROGRESS_FIELDS = ("transitions", "updates", "policy_version")
PROGRESS_LABEL = f"sql_ros.progress/3 {' '.join(PROGRESS_FIELDS)} [run sequence]*"
CLAIM_FIELDS = ("since_ns", "id")
CLAIM_LABEL = f"sql_ros.claim/1 {' '.join(CLAIM_FIELDS)}"
# one label per text: its name, a space, the text
CLAIM_TEXTS = ("node", "commands", "session", "process")
LONGEST_LABEL = 512  # of a claim; a topic name has 255 characters at most
DISTURBANCE_FIELDS = ("size", "x", "y", "z", "duration_s", "ramp_s")
# of an actor, after which it waits in lockstep for the learner: 2.5 s of an arm at 20 Hz
LOCKSTEP_TRANSITIONS = 50
EPISODE_FIELDS = (
    "index",
    "steps",
    "robot_steps",
    "undiscounted_return",
    "success",
    "distance",
    "policy_version",
)


@dataclass(frozen=True)
class ReplayEntry:
    """A transition and its origin.

    Attributes:
        actor: The actor, its parameter `actor_id`.
        run: Number of the actor's process.
        episode: Number of the episode.
        step: Number of the control step in the episode.
        sequence: Number of the transition in the process, from 1.
        policy_version: Version of the policy that acted; 0: none.
        transition: The transition.
        oldest: Sequence number of the first transition that the actor can still send.
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
        """Return whether the actor waits for the training on this transition, in lockstep.

        It waits at the end of an episode, and after every `LOCKSTEP_TRANSITIONS`.
        """
        return (
            self.transition.terminated
            or self.transition.truncated
            or self.sequence % LOCKSTEP_TRANSITIONS == 0
        )


@dataclass(frozen=True)
class Progress:
    """The progress of a learner.

    Attributes:
        transitions: Number in the run.
        updates: Number of gradient updates.
        policy_version: Version of the newest policy published.
        acknowledged: Actor process to the sequence number up to which everything is safe; in
            lockstep also trained on.
        session: Session of the stack that the learner belongs to; empty: started by hand.
    """

    transitions: int
    updates: int
    policy_version: int
    acknowledged: Mapping[int, int]
    session: str = ""


# --- joint states ---


def stamp_to_msg(stamp_ns: int) -> Time:
    """Convert a time [ns] to builtin_interfaces/Time."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def clock_to_msg(stamp_ns: int) -> Clock:
    """Convert simulated time [ns] to a message of /clock."""
    return Clock(clock=stamp_to_msg(stamp_ns))


def state_to_msg(
    stamp_ns: int, joints: Sequence[str], position: Vector, velocity: Vector, effort: Vector
) -> JointState:
    """Convert a state of the arm to JointState.

    Args:
        stamp_ns: Time of the measurement [ns].
        joints: Joint names on topics.
        position: (N,) [rad].
        velocity: (N,) [rad/s].
        effort: (N,) [N m].
    """
    message = JointState(name=list(joints))
    message.header.stamp = stamp_to_msg(stamp_ns)
    message.position, message.velocity, message.effort = (
        _doubles(x) for x in (position, velocity, effort)
    )
    return message


# --- commands ---


def command_to_msg(
    values: Vector, mode: str, joints: Sequence[str], answers_ns: int
) -> Float64MultiArray:
    """Convert a command to an array that is labelled with mode, joints and "answers <stamp>".

    Controllers of ros2_control read the data and ignore the labels.

    Args:
        values: Command in the unit of the mode, (N,).
        mode: "position", "velocity" or "torque".
        joints: Joint names in command order.
        answers_ns: Stamp of the state that it answers [ns]. In lockstep the simulation steps on
            exactly this command.
    """
    count = len(joints)
    names = MultiArrayDimension(label=f"{mode} {' '.join(joints)}", size=count, stride=count)
    answers = MultiArrayDimension(label=f"answers {answers_ns}", size=1, stride=1)
    return Float64MultiArray(layout=MultiArrayLayout(dim=[names, answers]), data=_doubles(values))


def command_from_msg(
    message: Float64MultiArray, mode: str, joints: Sequence[str]
) -> tuple[Vector, int | None]:
    """Convert a message to a command.

    Returns:
        The command (N,), and the stamp of the state that it answers [ns]; None if no label names
        one.

    Raises:
        MessageError: The length is wrong, a value is not finite, or the labels name another mode or
            joint order.
    """
    values = np.frombuffer(message.data, np.float64)
    if len(values) != len(joints):
        raise MessageError(
            f"command has {len(values)} values, expected {len(joints)}: {', '.join(joints)}"
        )
    if not np.isfinite(values).all():
        raise MessageError(f"command is not finite: {values}")
    labels = [dimension.label for dimension in message.layout.dim]
    expected = f"{mode} {' '.join(joints)}"
    if labels and labels[0] and labels[0] != expected:
        raise MessageError(f"command is labelled '{labels[0]}', expected '{expected}'")
    return values, read_answers(labels[1]) if len(labels) > 1 else None


def read_answers(label: str) -> int | None:
    """Return the stamp [ns] in a label "answers <stamp>"; None for an empty label.

    Raises:
        MessageError: The label has another form.
    """
    if not label:
        return None
    word, _, stamp = label.partition(" ")
    if word != "answers" or not stamp.isdecimal():
        raise MessageError(f"command has label '{label}', expected 'answers <stamp in ns>'")
    return int(stamp)


# --- replay ---


class TransitionCodec:
    """Converts transitions of one task to messages and back.

    Args:
        spec: Interface of the task.
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
        """Return the bytes of an entry: doubles in the order of the label.

        Raises:
            MessageError: A value is too large.
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
        """Return the entry that `pack` converted.

        Raises:
            MessageError: The length or a value is wrong.
        """
        return self._check(np.frombuffer(content[: len(content) // 8 * 8], np.float64))

    def wrap(self, content: bytes, oldest: int) -> Float64MultiArray:
        """Return a message of packed bytes.

        Args:
            content: Result of `pack`.
            oldest: Sequence number of the first transition that can still be sent.
        """
        message = Float64MultiArray(layout=self._layout, data=array.array("d", content))
        message.data[TRANSITION_FIELDS.index("oldest")] = oldest
        return message

    def serialize(self, content: bytes, oldest: int) -> bytes:
        """Return the serialised message that `wrap` makes, without rclpy's conversion.

        Args:
            content: Result of `pack`.
            oldest: Sequence number of the first transition that can still be sent.
        """
        at = 8 * TRANSITION_FIELDS.index("oldest")
        return b"".join((self._head, content[:at], struct.pack("d", oldest), content[at + 8 :]))

    def to_msg(self, entry: ReplayEntry) -> Float64MultiArray:
        """Convert an entry to a message."""
        return self.wrap(self.pack(entry), entry.oldest)

    def from_msg(self, message: Float64MultiArray) -> ReplayEntry:
        """Check a message and convert it to an entry.

        Raises:
            MessageError: Labels, length or a value are wrong; the text says what was expected.
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

        Raises:
            MessageError: The length is wrong, or a value is not finite as float32, or not in its
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

        Raises:
            MessageError: One is.
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


# --- policies ---


def policy_to_msg(data: bytes) -> UInt8MultiArray:
    """Convert the bytes of an ONNX file to a message with its SHA-256."""
    label = f"sql_ros.policy/1 sha256 {hashlib.sha256(data).hexdigest()}"
    dimension = MultiArrayDimension(label=label, size=len(data), stride=len(data))
    return UInt8MultiArray(layout=MultiArrayLayout(dim=[dimension]), data=data)


def policy_from_msg(message: UInt8MultiArray) -> bytes:
    """Return the bytes of the ONNX file, verified by their SHA-256.

    Raises:
        MessageError: The version is unknown, the file is too large, or its SHA-256 differs from the
            label.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    if len(labels) != 1 or not labels[0].startswith("sql_ros.policy/1 sha256 "):
        raise MessageError(f"policy has labels {labels}, expected 'sql_ros.policy/1 sha256 <hex>'")
    if len(message.data) > LARGEST_FILE:
        raise MessageError(f"policy has {len(message.data)} bytes, expected at most {LARGEST_FILE}")
    data = bytes(message.data)
    digest = hashlib.sha256(data).hexdigest()
    if labels[0].rsplit(" ", 1)[1] != digest:
        raise MessageError(f"policy has SHA-256 {digest}, but is labelled '{labels[0]}'")
    return data


# --- progress and episodes ---


def progress_to_msg(progress: Progress) -> UInt64MultiArray:
    """Convert progress: `PROGRESS_FIELDS`, then run and sequence number of every actor process."""
    pairs = [number for pair in progress.acknowledged.items() for number in pair]
    values = array.array(
        "Q", [progress.transitions, progress.updates, progress.policy_version, *pairs]
    )
    content = MultiArrayDimension(label=PROGRESS_LABEL, size=len(values), stride=len(values))
    session = MultiArrayDimension(label=f"session {progress.session}", size=1, stride=1)
    return UInt64MultiArray(layout=MultiArrayLayout(dim=[content, session]), data=values)


def progress_from_msg(message: UInt64MultiArray) -> Progress:
    """Convert a message to progress.

    Raises:
        MessageError: The version or the length is wrong.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    values = list(message.data)
    if len(labels) != 2 or labels[0] != PROGRESS_LABEL or not labels[1].startswith("session "):
        raise MessageError(
            f"message has labels {labels}, expected '{PROGRESS_LABEL}' and 'session <session>'"
        )
    head = len(PROGRESS_FIELDS)
    if len(values) < head or (len(values) - head) % 2:
        raise MessageError(
            f"progress has {len(values)} values, expected {head} and two per actor process"
        )
    acknowledged = dict(zip(values[head::2], values[head + 1 :: 2]))
    transitions, updates, policy_version = values[:head]
    session = labels[1].removeprefix("session ")
    return Progress(transitions, updates, policy_version, acknowledged, session)


def claim_to_msg(claim: Claim) -> UInt64MultiArray:
    """Convert a claim: `CLAIM_FIELDS`, labelled with the texts of the claim."""
    texts = [f"{name} {getattr(claim, name)}" for name in CLAIM_TEXTS]
    layout = _layout("sql_ros.claim/1", CLAIM_FIELDS)
    layout.dim += [MultiArrayDimension(label=text, size=1, stride=1) for text in texts]
    return UInt64MultiArray(layout=layout, data=array.array("Q", [claim.since_ns, claim.id]))


def claim_from_msg(message: UInt64MultiArray) -> Claim:
    """Convert a message to the claim of another process.

    Raises:
        MessageError: The version or the length is wrong, or a text is no name.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    if labels[:1] != [CLAIM_LABEL] or len(message.data) != len(CLAIM_FIELDS):
        raise MessageError(f"claim has labels {labels}, expected '{CLAIM_LABEL}' first")
    words = [label.partition(" ") for label in labels[1:]]
    if [name for name, _, _ in words] != list(CLAIM_TEXTS):
        raise MessageError(f"claim has labels {labels}, expected {', '.join(CLAIM_TEXTS)}")
    if not all(label.isprintable() and len(label) <= LONGEST_LABEL for label in labels):
        raise MessageError("claim has a label that is too long or cannot be printed")
    since_ns, number = message.data
    return Claim(**{name: text for name, _, text in words}, since_ns=since_ns, id=number)


def episode_to_msg(summary: EpisodeSummary) -> Float64MultiArray:
    """Convert the summary of an episode: `EPISODE_FIELDS`."""
    values = asdict(summary)
    data = array.array("d", [float(values[name]) for name in EPISODE_FIELDS])
    return Float64MultiArray(layout=_layout("sql_ros.episode/1", EPISODE_FIELDS), data=data)


def episode_from_msg(message: Float64MultiArray) -> EpisodeSummary:
    """Convert a message to the summary of an episode.

    Raises:
        MessageError: The version or the length is wrong, a count is no whole number, or a value is
            not finite as float32.
    """
    _check_layout(message, "sql_ros.episode/1", EPISODE_FIELDS)
    # sums of such values are finite, and can be plotted
    if not (np.abs(message.data) <= np.finfo(np.float32).max).all():
        raise MessageError(
            f"episode has values that are not finite as float32: {list(message.data)}"
        )
    index, steps, robot_steps, undiscounted_return, success, distance, version = message.data
    counts = index, steps, robot_steps, version
    if any(count < 0 or count != int(count) for count in counts):
        raise MessageError(f"episode has counts {counts}, expected whole numbers")
    return EpisodeSummary(
        int(index),
        int(steps),
        int(robot_steps),
        undiscounted_return,
        bool(success),
        distance,
        int(version),
    )


def _layout(kind: str, fields: Sequence[str]) -> MultiArrayLayout:
    """Return a layout whose label has the kind, with its version, and the names of the fields."""
    return MultiArrayLayout(
        dim=[
            MultiArrayDimension(
                label=f"{kind} {' '.join(fields)}", size=len(fields), stride=len(fields)
            )
        ]
    )


def _check_layout(message: Any, kind: str, fields: Sequence[str]) -> None:
    """Check label and length of a message with one dimension.

    Raises:
        MessageError: One of them is wrong.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    expected = f"{kind} {' '.join(fields)}"
    if labels != [expected]:
        raise MessageError(f"message has labels {labels}, expected ['{expected}']")
    if len(message.data) != len(fields):
        raise MessageError(
            f"message '{kind}' has {len(message.data)} values, expected {len(fields)}"
        )


def _doubles(values: npt.ArrayLike) -> array.array[float]:
    """Return values as an array of doubles, the type that rclpy converts fastest."""
    return array.array("d", np.asarray(values, np.float64).tobytes())


# --- targets ---


def target_to_msg(position: Vector, stamp_ns: int, frame: str) -> PoseStamped:
    """Convert a target.

    Args:
        position: Target of the tool in the base frame, (3,) [m].
        stamp_ns: Time of the state at which the episode begins [ns].
        frame: Name of the base frame.
    """
    message = PoseStamped()
    message.header.frame_id = frame
    message.header.stamp = stamp_to_msg(stamp_ns)
    message.pose.position.x, message.pose.position.y, message.pose.position.z = (
        float(value) for value in position
    )
    message.pose.orientation.w = 1.0
    return message


def target_from_msg(message: PoseStamped, frame: str) -> Vector:
    """Return the position of a target in the base frame, (3,) [m].

    Args:
        message: The target.
        frame: Name of the base frame.

    Raises:
        MessageError: The frame is another one, or a value is not finite.
    """
    if message.header.frame_id not in ("", frame):
        raise MessageError(f"target in frame '{message.header.frame_id}', expected '{frame}'")
    position = np.array([message.pose.position.x, message.pose.position.y, message.pose.position.z])
    if not np.isfinite(position).all():
        raise MessageError(f"target {position} is not finite")
    return position


# --- disturbances ---


def disturbance_to_msg(disturbance: Disturbance) -> Float64MultiArray:
    """Convert a disturbance: `DISTURBANCE_FIELDS`, labelled with its kind and body."""
    layout = _layout("sql_ros.disturbance/1", DISTURBANCE_FIELDS)
    layout.dim.append(
        MultiArrayDimension(
            label=f"{disturbance.kind} {disturbance.body}".strip(), size=1, stride=1
        )
    )
    values = (disturbance.size, *disturbance.vector, disturbance.duration_s, disturbance.ramp_s)
    return Float64MultiArray(layout=layout, data=_doubles(values))


def disturbance_from_msg(message: Float64MultiArray) -> Disturbance:
    """Convert a message to a disturbance.

    Raises:
        MessageError: The version, the length or the kind is wrong, or a value is not finite.
    """
    labels = [dimension.label for dimension in message.layout.dim]
    expected = f"sql_ros.disturbance/1 {' '.join(DISTURBANCE_FIELDS)}"
    if len(labels) != 2 or labels[0] != expected:
        raise MessageError(
            f"disturbance has labels {labels}, expected '{expected}' and '<kind> <body>'"
        )
    if len(message.data) != len(DISTURBANCE_FIELDS) or not np.isfinite(message.data).all():
        raise MessageError(
            f"disturbance has the values {list(message.data)}, expected {len(DISTURBANCE_FIELDS)}"
            " finite ones"
        )
    kind, _, body = labels[1].partition(" ")
    size, x, y, z, duration_s, ramp_s = message.data
    if min(duration_s, ramp_s) < 0.0:
        raise MessageError(
            f"disturbance lasts {duration_s} s and {ramp_s} s on the way down, expected 0 or more"
        )
    try:
        return Disturbance(kind, size, body, (x, y, z), duration_s, ramp_s)
    except ValueError as error:
        raise MessageError(str(error)) from None
