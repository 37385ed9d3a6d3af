"""Arms that execute their commands with a wrong sign, order or scale; they must be held before a
limit is passed.

The executed command is a matrix (N, N) times the command; such an arm is called a plant. Each plant
is played twice:

- It is wrong from the beginning. The loop is that of the actor with a real arm that begins with the
  identification (`robot/driver/identify.py`), and the hold after it. The identification must fail
  before a limit is passed. This is judged, except for limits in torque mode.
- It becomes wrong after the identification. The loop is that of the actor with a real arm at work:
  the speed ramp, slow joints until they are confirmed (`robot/driver/response.py`), the comparison
  of commands and motion (`robot/driver/following.py`), the payload. This is reported, not judged.

The command of the step in which a contradiction is detected still acts, as it does on an arm. An
arm without a fault must not be held.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.checks.verify.safety import MAX_LATENESS_S, HostileLoop, Tally
from sql_ros.common.worker_pool import worker_pool
from sql_ros.policy.task_spec import COMMAND_MODES
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.control.step_schedule import declared_lateness_s
from sql_ros.robot.driver.following import LEAD_RAD, FollowingCheck
from sql_ros.robot.driver.identify import Identification
from sql_ros.robot.driver.response import SLOW_RAD_S, ResponseCheck
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.speed_ramp import SpeedRamp

RATE_HZ = 20.0  # control rate of the shipped tasks
PLAY_S = 12.0  # a fault that is not detected by then counts as undetected
IDENTIFY_S = 120.0  # longer than the identification of seven joints takes
HOLD_S = 1.0  # length of the hold after a failed identification
STATE_DELAY_S = 0.02  # default of the actor's `max_state_delay_s`
SCALES = {"flipped": -1.0, "half": 0.5, "double": 2.0}
FAULTS = (*SCALES, "swapped")
WATCHED = ("position", "velocity", "tip_speed", "link_speed", "contact")
PUSH = (1.0, 3.0)  # lead of a position command at full speed [periods]
PASSED = "cells with a limit passed before the hold"
COMMANDS_PER_ROUND = 250_000  # commands of the safety suite per round of faults


@dataclass
class PlantCounts:
    """Counts of the played cells of one fault, or of arms without a fault. A cell is one plant,
    played once.

    Attributes:
        cells: Played cells.
        holds: Cells in which the arm was held.
        latest_s: Latest time of a hold since the begin of its cell [s]; 0: no hold.
        violations: One text per cell in which a limit was passed before the hold took effect.
    """

    cells: int = 0
    holds: int = 0
    latest_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def add(self, other: PlantCounts) -> None:
        """Add other counts to these, in place.

        Args:
            other: The other counts.
        """
        self.cells += other.cells
        self.holds += other.holds
        self.latest_s = max(self.latest_s, other.latest_s)
        self.violations += other.violations


class WrongPlantLoop(HostileLoop):
    """An arm that begins to act at rest in a random pose, with a fault in executing commands.

    Args:
        robot: The arm.
        scene: MJCF, relative to the share folder.
        mode: Command mode.
        seed: Seed of poses and commands.
    """

    def __init__(self, robot: RobotConfig, scene: str, mode: str, seed: int) -> None:
        super().__init__(
            robot, scene, mode, RATE_HZ, seed, declared_lateness_s(1.0 / RATE_HZ, MAX_LATENESS_S)
        )
        self._lateness = 0.0  # the filter reckons with late commands, but none is late
        self.filter.expect_delay(STATE_DELAY_S)
        self.filter.observes_payload = True
        self._response = ResponseCheck(robot, mode, self._period, scene)

    def play(self, matrix: Vector) -> tuple[float | None, Tally]:
        """Act at work, by a random hostile policy, until the arm is held, at most `PLAY_S`.

        The arm is held by the checks of response, following and payload.

        Args:
            matrix: The executed command is this matrix times the command (N, N).

        Returns:
            Time of the hold since the begin [s], None if the arm was not held; the observations
            until then.
        """
        self._place_at_rest()
        self._response.forget()
        following = FollowingCheck(self._robot, self._mode, self._period)
        ramp = SpeedRamp()
        ramp.is_real = True
        ramp.forget()
        # the last policy's wishes are not finite
        policy = self._policies()[self._rng.integers(len(self._policies()) - 1)]
        tally = Tally()
        start = self._state().position
        for step in range(round(PLAY_S / self._period)):
            state = self._state()
            self.filter.limit_speed(ramp.advance(0.0 if self.filter.is_at_rest else self._period))
            self.filter.slow(self._response.speeds)
            if following.is_trying:
                self.filter.trust(state, LEAD_RAD)
            command = self.filter.admit(self._wished_command(policy(state), state), state)
            following.sent(command, state.position)
            self._response.sent(command, state)
            payload = self.filter.payload
            is_held = (
                self._response.mismatch is not None
                or following.reasons
                or (payload is not None and payload.reasons)
            )
            self._obey(matrix, start, command, tally)
            if is_held:
                return (step + 1) * self._period, tally
        return None, tally

    def identify(self, matrix: Vector) -> tuple[str, float, Tally]:
        """Identify the arm, for `IDENTIFY_S` at most; if the identification fails, or the following
        check would hold the arm, hold the arm for `HOLD_S`.

        Args:
            matrix: The executed command is this matrix times the command (N, N).

        Returns:
            The failure in words, empty if there was none (also after `IDENTIFY_S`); the end of the
            identification [s]; the observations until the end of the hold.
        """
        self._place_at_rest()
        identification = Identification(self._robot, self._mode, self._period)
        ramp = SpeedRamp()
        ramp.is_real = True
        ramp.forget()
        following = FollowingCheck(self._robot, self._mode, self._period)
        tally = Tally()
        start = self._state().position
        steps = 0
        failure = ""
        while not (identification.is_over or failure or steps * self._period > IDENTIFY_S):
            state = self._state()
            if following.is_trying:
                self.filter.trust(state, LEAD_RAD)
            self.filter.limit_speed(ramp.advance(0.0 if self.filter.is_at_rest else self._period))
            self.filter.slow(np.full(len(self._robot.joints), SLOW_RAD_S))
            command = self.filter.steer(identification.step(state), state)
            identification.sent(command, self.filter.asked)
            following.sent(command, state.position)
            self._obey(matrix, start, command, tally)
            failure = identification.failure or "".join(following.reasons.values())
            steps += 1
        ended_s = steps * self._period
        if failure:
            for _ in range(round(HOLD_S / self._period)):
                # as the actor does: the effect of a new torque is unknown
                command = self.filter.hold(self._state(), fresh=self._mode != "torque")
                self._obey(matrix, start, command, tally)
        return failure, ended_s, tally

    def _obey(self, matrix: Vector, start: Vector, command: Vector, tally: Tally) -> None:
        """Let the arm execute a command with its fault for a period, and observe it.

        Args:
            matrix: The executed command is this matrix times the command (N, N). Position commands
                are taken relative to `start`.
            start: Position at the begin of the episode (N,) [rad].
            command: Command (N,) in the unit of the mode.
            tally: Observations, changed in place.
        """
        is_position = self._mode == "position"
        told = start + matrix @ (command - start) if is_position else matrix @ command
        self._sim.command(self._mode, told, self._period)
        self._act(tally)

    def _place_at_rest(self) -> None:
        """Begin an episode in a random pose at rest; draw until the arm is at rest."""
        while True:
            self._draw_start()
            if not self._state().velocity.any():
                return

    def _wished_command(self, share: Vector, state: RobotState) -> Vector:
        """Return the command (N,) in the unit of the mode for shares of the limits.

        Args:
            share: Wished velocities, or torques in torque mode, as shares of the limits (N,).
            state: State from which a position command leads, by a factor drawn from `PUSH` times
                the motion of one period.
        """
        if self._mode == "velocity":
            return np.asarray(share * self._speed)
        if self._mode == "position":
            return np.asarray(
                state.position + share * self._speed * self._period * self._rng.choice(PUSH)
            )
        return np.asarray(share * np.array(self._robot.effort_limit))


def wrong_plants(fault: str, size: int) -> Iterator[tuple[str, Vector]]:
    """Yield every plant with a fault: one per joint, or one per pair of joints for "swapped".

    Args:
        fault: One of `FAULTS`.
        size: Number of joints N.

    Yields:
        Name of the plant, and the matrix (N, N) by which commands are multiplied: for "swapped" a
        permutation of two joints, otherwise the identity with the factor `SCALES[fault]` at one
        joint.
    """
    if fault == "swapped":
        for first in range(size):
            for second in range(first + 1, size):
                matrix = np.eye(size)
                matrix[[first, second]] = matrix[[second, first]]
                yield f"joints {first} and {second}", matrix
        return
    for joint in range(size):
        matrix = np.eye(size)
        matrix[joint, joint] = SCALES[fault]
        yield f"joint {joint}", matrix


def play_plants(name: str, scene: str, mode: str, fault: str, seed: int) -> PlantCounts:
    """Play every plant of a fault once at work.

    With the fault "right" a plant without a fault is played as often as there are joints.

    Args:
        name: Name of the robot file.
        scene: MJCF, relative to the share folder.
        mode: Command mode.
        fault: One of `FAULTS`, or "right".
        seed: Seed of poses and commands.

    Returns:
        The counts of these cells.
    """
    robot = load_robot(name)
    size = len(robot.joints)
    trial = WrongPlantLoop(robot, scene, mode, seed)
    plants = [("", np.eye(size))] * size if fault == "right" else list(wrong_plants(fault, size))
    counts = PlantCounts()
    for what, matrix in plants:
        held_s, tally = trial.play(matrix)
        passed = _passed(tally)
        counts.cells += 1
        counts.holds += held_s is not None
        counts.latest_s = max(counts.latest_s, held_s or 0.0)
        if passed:
            when = "never" if held_s is None else f"after {held_s:.2f} s"
            counts.violations.append(f"{name}, {mode}, {fault} {what}: {passed}; held {when}")
    return counts


def identify_plants(name: str, scene: str, mode: str, fault: str, seed: int) -> PlantCounts:
    """Identify every plant of a fault once; with the fault "right" a plant without a fault twice.

    Args:
        name: Name of the robot file.
        scene: MJCF, relative to the share folder.
        mode: Command mode.
        fault: One of `FAULTS`, or "right".
        seed: Seed of the poses.

    Returns:
        The counts of these cells; a failed identification is a hold.
    """
    robot = load_robot(name)
    size = len(robot.joints)
    trial = WrongPlantLoop(robot, scene, mode, seed)
    plants = [("", np.eye(size))] * 2 if fault == "right" else list(wrong_plants(fault, size))
    counts = PlantCounts()
    for what, matrix in plants:
        failure, ended_s, tally = trial.identify(matrix)
        counts.cells += 1
        counts.holds += bool(failure)
        counts.latest_s = max(counts.latest_s, ended_s if failure else 0.0)
        passed = _passed(tally)
        if passed:
            counts.violations.append(
                f"{name}, {mode}, {fault} {what}: {passed}; {failure or 'not noticed'}"
            )
    return counts


def _passed(tally: Tally) -> str:
    """Return the limits of `WATCHED` that were passed, with the largest share of each, as text;
    empty: none.
    """
    shares = {kind: tally.worst.get(kind, 0.0) for kind in WATCHED}
    return ", ".join(f"{kind} {share:.2f}" for kind, share in shares.items() if share > 1.0)


def plant_checks(rounds: int, seed: int, progress: Progress, jobs: int) -> list[Check]:
    """Play and identify every fault of both arms in every command mode.

    Args:
        rounds: Number of times that each plant is played at work, each with a seed of its own. Each
            is identified once.
        seed: First seed.
        progress: Called with a line of text per fault.
        jobs: Worker processes.

    Returns:
        The checks of all faults, those of the identification first.
    """
    arms = {"sawyer": "sim/scenes/sawyer_reach.xml", "ur5e": "sim/scenes/ur5e_reach.xml"}
    groups = [
        (name, mode, fault)
        for name in arms
        for mode in COMMAND_MODES
        for fault in (*FAULTS, "right")
    ]
    checks: list[Check] = []
    with worker_pool(jobs) as pool:
        identified = {
            group: [pool.submit(identify_plants, group[0], arms[group[0]], *group[1:], seed)]
            for group in groups
        }
        worked = {
            group: [
                pool.submit(play_plants, group[0], arms[group[0]], *group[1:], seed + number)
                for number in range(rounds)
            ]
            for group in groups
        }
        for group, futures in identified.items():
            counts = _gather("identification", group, futures, progress)
            checks += _identification_checks(*group, counts)
        for group, futures in worked.items():
            checks += _checks(*group, _gather("work", group, futures, progress))
    return checks


def _gather(
    when: str,
    group: tuple[str, str, str],
    futures: list[Future[PlantCounts]],
    progress: Progress,
) -> PlantCounts:
    """Wait for the rounds of a fault, report the sum of their counts, and return it.

    Args:
        when: "identification" or "work", for the report.
        group: Arm, command mode and fault.
        futures: Counts of each round.
        progress: Called with lines of text.
    """
    counts = PlantCounts()
    for future in futures:
        counts.add(future.result())
    progress(
        f"{when}, {', '.join(group)}: {counts.cells} cells, {counts.holds} holds, the latest"
        f" after {counts.latest_s:.2f} s"
    )
    for line in counts.violations:
        progress(f"  passed before the hold: {line}")
    return counts


def _identification_checks(name: str, mode: str, fault: str, counts: PlantCounts) -> list[Check]:
    """Return the checks of one fault during the identification.

    Args:
        name: Name of the arm.
        mode: Command mode.
        fault: One of `FAULTS`, or "right".
        counts: Counts of all its cells.

    Returns:
        Number of cells; cells beyond a limit, which must be none except in torque mode. Without a
        fault also the holds, of which there must be none. With a fault the holds, which must be in
        every cell except for a wrong scale in torque mode; and the latest hold, which is not
        judged.
    """
    group = f"plant at identification, {name}, {mode}, {fault}"
    # an identification by torques controls the velocity, which hides their scale
    is_noticed = not (mode == "torque" and fault in ("half", "double"))
    # one period of another joint's torque may be too much for a small joint: docs/safety.md
    is_gentle = mode != "torque"
    checks = [
        Check(group, "cells", counts.cells, 1, "at least"),
        Check(group, PASSED, float(len(counts.violations)), 0.0, judged=is_gentle),
    ]
    if fault == "right":
        return [*checks, Check(group, "false holds", counts.holds, 0.0)]
    return [
        *checks,
        Check(group, "holds", counts.holds, counts.cells, "at least", judged=is_noticed),
        Check(group, "latest hold [s]", counts.latest_s, IDENTIFY_S, judged=False),
    ]


def _checks(name: str, mode: str, fault: str, counts: PlantCounts) -> list[Check]:
    """Return the checks of one fault at work; only those of an arm without a fault judge the holds.

    Args:
        name: Name of the arm.
        mode: Command mode.
        fault: One of `FAULTS`, or "right".
        counts: Counts of all its cells.

    Returns:
        Number of cells. Without a fault also the holds, of which there must be none. With a fault
        holds, latest hold and cells beyond a limit, none of which is judged.
    """
    group = f"plant at work, {name}, {mode}, {fault}"
    if fault == "right":
        return [
            Check(group, "cells", counts.cells, 1, "at least"),
            Check(group, "false holds", counts.holds, 0.0),
        ]
    return [
        Check(group, "cells", counts.cells, 1, "at least"),
        Check(group, "holds", counts.holds, counts.cells, "at least", judged=False),
        Check(group, "latest hold [s]", counts.latest_s, PLAY_S, judged=False),
        # the value is not always 0: docs/safety.md
        Check(group, PASSED, float(len(counts.violations)), 0.0, judged=False),
    ]
