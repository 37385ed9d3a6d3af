"""`sql-ros verify stops`: stop a moving arm over DDS while its actor is hindered; no stop may be
missed.

A stop is a message on the topic `actor/emergency_stop` or a call of the service `actor/stop`. A
stop begins to act with the first command from which on the commands only get slower. A stop is
missed if the arm does not rest within `MISSED_S` after the sending.

Two conditions keep the braking within the limits: no joint leaves its position limits, and the
braking takes at most `SLACK_S` longer than the slowest joint needs at its acceleration limit.
`hindrances.py` lists the hindrances.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from sql_ros.checks.stops.hindrances import HINDRANCES, MODES, TASK, ActorProcess
from sql_ros.checks.stops.velocity_arm import VelocityArm
from sql_ros.common.errors import ConfigError
from sql_ros.learning.algorithm import AlgorithmConfig
from sql_ros.learning.export import export_policy
from sql_ros.learning.learner import Learner
from sql_ros.learning.networks import Scaling
from sql_ros.robot.arm import Vector
from sql_ros.robot.tasks import load_task

MOVING_RAD_S = 0.03  # speed from which an arm counts as moving
MOVING_S = 120.0  # longest wait for motion, on a loaded machine
# longest time from motion to a hindrance; an arm is slow for 2 s after its start
MOVED_S = 2.5
PAUSE_S = 0.3  # longest time from a hindrance to the stop
RETRY_S = 2.0  # time without motion after which a start is requested again
MISSED_S = 3.0  # a stop after which the arm takes longer to rest is missed
RESTING_S = 0.1  # time of zero commands after which the arm counts as at rest
SLACK_S = 0.15  # two periods at 20 Hz, and a margin
STOPS_PER_PROCESS = 12  # after which another actor is started
BUTTON = "emergency_stop"
SERVICE = "stop"
STOP_KINDS = (BUTTON, SERVICE)


@dataclass(frozen=True)
class StopCase:
    """One stop, before it is made.

    Attributes:
        mode: Mode of the actor, one of `hindrances.MODES`.
        hindrance: Hindrance, one of `hindrances.HINDRANCES[mode]`.
        kind: Way of the stop, one of `STOP_KINDS`.
        pauses_s: Time from motion to hindrance, and from hindrance to stop [s].
    """

    mode: str
    hindrance: str
    kind: str
    pauses_s: tuple[float, float]


@dataclass(frozen=True)
class StopResult:
    """Result of one stop.

    Attributes:
        case: The stop.
        first_brake_s: Time from the sending of the stop to the first braking command [s]; infinite:
            the stop was missed.
        rest_s: Time from the sending of the stop to the first zero command [s]; infinite: the stop
            was missed.
        is_within_limits: Whether the braking was within the limits (see the module).
        is_false: Whether the service answered success before the arm was at rest.
    """

    case: StopCase
    first_brake_s: float
    rest_s: float
    is_within_limits: bool
    is_false: bool = False

    @property
    def is_missed(self) -> bool:
        """Return whether the arm did not come to rest in time."""
        return self.rest_s == float("inf")


@dataclass
class StopResults:
    """All results of a check.

    Attributes:
        all: The results in the order of the stops.
    """

    all: list[StopResult] = field(default_factory=list)

    @property
    def failed(self) -> list[StopResult]:
        """Return the results of stops that were missed, were answered falsely, or were not within
        the limits.
        """
        return [
            each
            for each in self.all
            if each.is_missed or each.is_false or not each.is_within_limits
        ]

    def figures(self) -> dict[str, float]:
        """Return the figures of the check by name.

        Returns:
            `stops`, `missed`, `false_answers`: counts. `stops_<mode>`, `stops_<hindrance>`: stops
            of each. `first_brake_...`: quantiles of the time to the first braking command [ms], of
            all and by hindrance. `rest_...`: quantiles of the time to the first zero command [s].
            `rest_within_limits`: share of stops within the limits. Missed stops are not in the
            quantiles; without other stops these are 0.
        """
        done = [each for each in self.all if not each.is_missed]
        first_ms = [1e3 * each.first_brake_s for each in done] or [0.0]
        rest_s = [each.rest_s for each in done] or [0.0]
        hindrances = sorted({each.case.hindrance for each in self.all})
        return {
            "stops": len(self.all),
            "missed": sum(each.is_missed for each in self.all),
            "false_answers": sum(each.is_false for each in self.all),
            "first_brake_p50_ms": float(np.quantile(first_ms, 0.5)),
            "first_brake_p99_ms": float(np.quantile(first_ms, 0.99)),
            "first_brake_max_ms": max(first_ms),
            "rest_p50_s": float(np.quantile(rest_s, 0.5)),
            "rest_max_s": max(rest_s),
            "rest_within_limits": (
                sum(each.is_within_limits for each in self.all) / max(len(self.all), 1)
            ),
            **{f"stops_{mode}": sum(each.case.mode == mode for each in self.all) for mode in MODES},
            **{
                f"stops_{name}": sum(each.case.hindrance == name for each in self.all)
                for name in hindrances
            },
            **{
                f"first_brake_max_ms_{name}": max(
                    (1e3 * each.first_brake_s for each in done if each.case.hindrance == name),
                    default=0.0,
                )
                for name in hindrances
            },
        }


def stop_arms(count: int, seed: int, domain: int, folder: Path) -> Iterator[StopResult]:
    """Stop a moving arm many times, and yield each result as soon as it is known.

    Writes an untrained policy to the folder. Starts a new actor after every `STOPS_PER_PROCESS`
    stops; the modes take turns.

    Args:
        count: Number of results; a stop of an arm that was at rest is not counted and not yielded.
        seed: Seed of hindrances, kinds of stop, moments, policy and actors.
        domain: ROS_DOMAIN_ID of arm and actors.
        folder: Existing folder for policy, records and output of the processes.

    Yields:
        The result of each stop.

    Raises:
        ConfigError: The actor ended, or does not move the arm within `MOVING_S`.
    """
    rng = np.random.default_rng(seed)
    _write_policy(folder / "policy.onnx", seed)
    made = 0
    starts = 0
    while made < count:
        mode = MODES[starts % len(MODES)]
        starts += 1
        for result in _session(mode, min(STOPS_PER_PROCESS, count - made), rng, domain, folder):
            made += 1
            yield result


def _write_policy(path: Path, seed: int) -> None:
    """Export an untrained policy, which moves the arm at random.

    Args:
        path: File to write.
        seed: Seed of the weights.
    """
    spec = load_task(TASK).spec
    scaling = Scaling(spec.observation_offset, spec.observation_scale)
    learner = Learner(AlgorithmConfig(hidden_sizes=(32, 32)), scaling, spec.action_size, seed)
    path.write_bytes(export_policy(learner, spec, 1, "")[0])


def _session(
    mode: str, count: int, rng: np.random.Generator, domain: int, folder: Path
) -> Iterator[StopResult]:
    """Start one actor, stop it a number of times with a new start after each stop, and end it.

    Args:
        mode: Mode of the actor.
        count: Number of results.
        rng: Draws the cases and the seed of the actor.
        domain: ROS_DOMAIN_ID.
        folder: Folder for the files of the processes; has `policy.onnx`.

    Yields:
        The result of each stop of a moving arm.

    Raises:
        ConfigError: The actor ended, or does not move the arm within `MOVING_S`.
    """
    robot = load_task(TASK).robot
    arm = VelocityArm(robot, domain)
    actor = ActorProcess(mode, folder, domain, int(rng.integers(1 << 30)))
    acceleration = robot.limit_fraction * np.array(robot.acceleration_limit)
    try:
        made = 0
        while made < count:
            _await_motion(arm, actor)
            result = _stop(arm, actor, _draw(mode, rng), acceleration)
            if result is not None:
                made += 1
                yield result
            if made < count:
                _start(arm, actor)
    finally:
        actor.close()
        arm.close()


def _draw(mode: str, rng: np.random.Generator) -> StopCase:
    """Draw a stop: its hindrance, kind, and pauses of up to `MOVED_S` and `PAUSE_S`.

    Args:
        mode: Mode of the actor.
        rng: Random generator.
    """
    hindrances = HINDRANCES[mode]
    hindrance = hindrances[rng.integers(len(hindrances))]
    kind = STOP_KINDS[rng.integers(len(STOP_KINDS))]
    return StopCase(mode, hindrance, kind, (MOVED_S * rng.random(), PAUSE_S * rng.random()))


def _await(
    arm: VelocityArm,
    actor: ActorProcess,
    condition: Callable[[], object],
    what: str,
    answers: Sequence[str] = (),
) -> None:
    """Wait for a condition, at most `MOVING_S`.

    Args:
        arm: Arm whose `wait` is used.
        actor: Actor whose process must not end meanwhile.
        condition: Tested repeatedly; may take a while.
        what: Name of the awaited event, for the error.
        answers: Last answers of services, for the error; read only when the error is raised.

    Raises:
        ConfigError: The condition did not come to hold, or the actor ended. The text has the end of
            the actor's output.
    """
    if (
        not arm.wait(lambda: condition() or actor.process.poll() is not None, MOVING_S)
        or actor.process.poll() is not None
    ):
        last = f" (last answers: {'; '.join(answers)})" if answers else ""
        said = actor.log.read_text(errors="replace")[-1500:]
        raise ConfigError(
            f"no {what}{last} within {MOVING_S:g} s, or the actor ended (exit code"
            f" {actor.process.poll()}): {said}"
        )


def _await_motion(arm: VelocityArm, actor: ActorProcess) -> None:
    """Wait until the arm moves and the actor receives stops by both ways.

    Requests a reset and a start of the actor each time the arm has not moved for `RETRY_S`.

    Raises:
        ConfigError: The arm does not move within `MOVING_S`, or the actor ended.
    """

    def moves_or_requests_start() -> bool:
        """Wait up to `RETRY_S` for motion and return whether the arm moves. If not, request a reset
        and a start.
        """
        is_moving = arm.wait(lambda: arm.speed > MOVING_RAD_S, RETRY_S)
        if not is_moving:
            # an actor that hung may have received the stop only after the last reset
            arm.call("reset")
            arm.call("start")
        return is_moving

    _await(arm, actor, moves_or_requests_start, "motion")
    _await(
        arm,
        actor,
        lambda: arm.button.get_subscription_count() and arm.clients["stop"].service_is_ready(),
        "subscriber",
    )


def _stop(
    arm: VelocityArm, actor: ActorProcess, case: StopCase, acceleration: Vector
) -> StopResult | None:
    """Let the arm move, hinder the actor, send one stop, and wait for rest.

    The hindrance ends when the arm rests, or after `MISSED_S`.

    Args:
        arm: Arm that sends the stop and records the commands. Its `outside_rad` is set to 0 first.
        actor: Actor that is hindered.
        case: The stop.
        acceleration: Acceleration limits (N,) [rad/s^2].

    Returns:
        The result; None if the arm was at rest when the stop was sent.
    """
    time.sleep(case.pauses_s[0])
    arm.outside_rad = 0.0
    with actor.hindered(case.hindrance):
        time.sleep(case.pauses_s[1])
        before = len(arm.commands) - 1
        moved = arm.speed > 0.0
        sent = time.monotonic()
        if case.kind == BUTTON:
            arm.button.publish(Bool(data=True))
            future = None
        else:
            future = arm.clients["stop"].call_async(Trigger.Request())
        false_at: list[float] = []

        def rests() -> bool:
            """Return whether zero commands have come for `RESTING_S`, the newest within the last
            second.

            Also notes the first moment at which the service had answered success while the arm was
            moving.
            """
            if (
                future is not None
                and future.done()
                and future.result().success
                and arm.speed > 0.0
                and not false_at
            ):
                false_at.append(time.monotonic())
            return (
                arm.speed == 0.0
                and time.monotonic() - arm.commands[-1][0] < 1.0
                and _rested_s(arm) > RESTING_S
            )

        arm.wait(rests, MISSED_S)
    if not moved:
        return None
    return _judge(case, arm, before, sent, acceleration, is_false=bool(false_at))


def _judge(
    case: StopCase,
    arm: VelocityArm,
    before: int,
    sent: float,
    acceleration: Vector,
    *,
    is_false: bool,
) -> StopResult:
    """Return the result of a stop from the recorded commands.

    The braking begins with the first of the commands that get slower and slower up to the first
    zero command. It is within the limits if it takes at most `SLACK_S` longer than the acceleration
    limits need, and no joint leaves its position limits.

    Args:
        case: The stop.
        arm: Arm with the recorded commands.
        before: Index of the last command before the stop.
        sent: Steady time at which the stop was sent [s].
        acceleration: Acceleration limits (N,) [rad/s^2].
        is_false: Whether the service answered success before the arm was at rest.

    Returns:
        The result; a missed stop if no zero command came or the arm moves again.
    """
    commands = arm.commands[before:]
    times = np.array([at for at, _ in commands])
    values = np.array([each for _, each in commands])
    speeds = np.abs(values).max(1)
    zeros = np.flatnonzero(speeds == 0.0)
    if not len(zeros) or arm.speed > 0.0:
        return StopResult(
            case, float("inf"), float("inf"), is_within_limits=False, is_false=is_false
        )
    rest = int(zeros[0])
    first = rest
    while first > 1 and speeds[first - 1] < speeds[first - 2]:
        first -= 1
    stop_s = float((np.abs(values[first - 1]) / acceleration).max()) if first else 0.0
    is_soon = (
        times[rest] - times[max(first - 1, 0)] <= stop_s + SLACK_S
        or times[rest] - times[first] <= stop_s + SLACK_S
    )
    return StopResult(
        case,
        max(float(times[first]) - sent, 0.0),
        max(float(times[rest]) - sent, 0.0),
        is_within_limits=bool(is_soon) and arm.outside_rad <= 0.0,
        is_false=is_false,
    )


def _rested_s(arm: VelocityArm) -> float:
    """Return for how long the commands have been zero [s]; 0 if the last command is not zero."""
    last = len(arm.commands)
    while last and not arm.commands[last - 1][1].any():
        last -= 1
    return time.monotonic() - arm.commands[last][0] if last < len(arm.commands) else 0.0


def _start(arm: VelocityArm, actor: ActorProcess) -> None:
    """Release the emergency stop, then request reset and start until the actor accepts both.

    Args:
        arm: Arm whose button and services are used.
        actor: Actor to start.

    Raises:
        ConfigError: The actor did not accept within `MOVING_S`, or ended. The text has its last
            answers.
    """
    arm.button.publish(Bool(data=False))
    said: list[str] = []

    def request_start() -> bool:
        """Request a reset and a start; return whether both succeeded.

        Both are requested every time, because a loop that hung may receive the stop after a reset.
        """
        answers = [arm.call("reset"), arm.call("start")]
        said[:] = [answer.message if answer is not None else "no answer" for answer in answers]
        return all(answer is not None and answer.success for answer in answers)

    _await(arm, actor, request_start, "start", said)
