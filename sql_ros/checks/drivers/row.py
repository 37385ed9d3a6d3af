"""Play one row of the table, from start to verdict."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import mujoco
import numpy as np

from sql_ros.checks.drivers.cases import Step
from sql_ros.checks.drivers.controllers import Vector
from sql_ros.checks.drivers.double import BROADCASTER, OTHER_DRIVER, DriverDouble
from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm
from sql_ros.checks.drivers.recorder import Recorder
from sql_ros.checks.drivers.stack import Stack
from sql_ros.checks.drivers.table import Row
from sql_ros.checks.drivers.verdict import violations
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model
from sql_ros.robot.tasks import load_task

START_RAD = 0.1  # from the neutral pose, of every joint
START_S = 90.0  # for processes to start, on a machine that is busy
STEP_S = 40.0  # for anything else to happen
MOVED_RAD = 0.1  # the least motion that counts as such
RESTED_RAD = 0.01  # the most that counts as none
SETTLE_S, WATCH_S = 0.7, 1.0  # after a hold began, and how long it is watched
MOVING_RAD_S = 0.05  # something is done to an arm that is faster than this
AT_REST_RAD_S = 0.01
NO_ROWS = 1  # exit code of trials that ended before the first was over
TRANSITIONS = 3
OF_START = (  # holds until everything is there
    "state_bad",
    "unheard",
    "unguarded",
    "controller",
    "policy_missing",
    "learner_missing",
    "robot",
)
OF_MACHINE = ("loop_late", "state_too_old")  # holds of a machine that is busy
IN_MOTION = ("stop", "press", "unload_controller", "silence", "kill_actor", "kill_stack", "terminate_stack")
OF_STACK = ("kill_actor", "kill_stack", "terminate_stack")


@dataclass(frozen=True)
class Outcome:
    """What came of a row.

    Attributes:
        row: its name.
        state: "passed", "failed" or "not run".
        why: what came and what was expected; empty where it passed.
        figures: the recorder's.
        wall_s: how long it took.
    """

    row: str
    state: str
    why: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0


class _Failure(Exception):
    """A step did not happen as expected."""


def play_row(row: Row, policies: dict[str, Path], folder: Path, domain: int) -> Outcome:
    """Play a row in a DDS domain of its own.

    Args:
        row: arm, mode and case.
        policies: an ONNX file per arm double, by its name.
        folder: for everything that the row writes.
        domain: of DDS.
    """
    if row.arm.needs and not _can_import(row.arm.needs):
        return Outcome(str(row), "not run", f"messages missing: {row.arm.needs} cannot be imported")
    began = time.monotonic()
    task = load_task(row.arm.task)
    double = make_double(row, task.robot, task.config, domain)
    try:
        whys = _Play(row, double, policies, folder, domain).run()
    finally:
        double.close()
    record = double.recorder.record
    unsafe = violations(record, task.robot)
    if any("step" in why for why in unsafe):
        unsafe.append(double.recorder.largest_step)
    whys += unsafe
    if record.refused_commands:
        whys.append(f"the controller refused: {double.recorder.refusal}")
    state = "failed" if whys else "passed"
    wall_s = time.monotonic() - began
    return Outcome(str(row), state, "; ".join(whys), record.figures(), wall_s)


class _Play:
    """The steps of a case, each a method."""

    def __init__(
        self,
        row: Row,
        double: DriverDouble,
        policies: dict[str, Path],
        folder: Path,
        domain: int,
    ) -> None:
        self._row, self._double = row, double
        self._record = double.recorder.record
        self._has_moved = False
        self._is_expected_dead = False
        if row.case.controller != "none":
            double.load_controller(other=row.case.controller == "other")
        self._stack = Stack(row, policies, folder, domain)

    def run(self) -> list[str]:
        """Play every step and the end; return what went wrong."""
        try:
            for step in self._row.case.steps:
                getattr(self, f"_{step.kind}")(step)
            self._check_holds()
            self._end()
        except _Failure as error:
            return [str(error)]
        finally:
            self._stack.close()
        return []

    # --- steps ---

    def _moves(self, step: Step) -> None:
        until = self._record.path_rad + MOVED_RAD
        self._wait(lambda: self._record.path_rad > until, START_S, "the arm to move")
        self._double.run_for(WATCH_S)
        self._has_moved = True

    def _notices(self, step: Step) -> None:
        words = [self._fill(word) for word in step.words]
        double = self._double

        def is_held() -> bool:
            return bool(double.holding) and all(word in double.holding for word in words)

        self._wait(is_held, START_S, f"a hold that says {' and '.join(words)}")

    def _holds(self, step: Step) -> None:
        self._notices(step)
        double = self._double
        double.run_for(SETTLE_S)
        path, transitions = self._record.path_rad, double.transitions
        double.run_for(WATCH_S)
        if not double.holding:
            raise _Failure(f"the hold that says {step.words} ended by itself: '{double.status}'")
        moved = self._record.path_rad - (path if self._has_moved else 0.0)
        if moved > RESTED_RAD:
            raise _Failure(f"the arm moved {moved:.3f} rad during the hold '{double.holding}'")
        if double.transitions > transitions:
            made = double.transitions - transitions
            raise _Failure(f"{made} transitions were made during the hold '{double.holding}'")

    def _refused(self, step: Step) -> None:
        stack = self._stack
        stopped = self._double.run_until(lambda: stack.code is not None, START_S)
        if not stopped:
            raise _Failure(f"the start was not refused, expected exit code 2 and {step.words}")
        if stack.code != 2:
            raise _Failure(f"exit code {stack.code}, expected 2: {_last_line(stack.output)}")
        missing = [word for word in map(self._fill, step.words) if word not in stack.output]
        if missing:
            raise _Failure(f"'{_last_line(stack.output)}' does not say {', '.join(missing)}")
        self._expect_nothing_sent()

    def _silent(self, step: Step) -> None:
        self._wait(lambda: bool(self._double.reports), START_S, "diagnostics of the actor")
        self._double.run_for(SETTLE_S + 3.0 * WATCH_S)
        self._expect_nothing_sent()

    def _rests(self, step: Step) -> None:
        seconds = float(step.words[0])
        self._double.run_for(seconds)
        speed = float(np.abs(self._double.plant.velocity).max())
        if speed > AT_REST_RAD_S:
            raise _Failure(f"the arm moves at {speed:.3f} rad/s {seconds} s after the process died")

    def _learns(self, step: Step) -> None:
        double = self._double
        self._wait(lambda: double.transitions >= TRANSITIONS, START_S, "transitions")

    def _asks(self, step: Step) -> None:
        (word,) = step.words
        self._wait(lambda: word in self._double.prompt, STEP_S, f"a prompt that says {word}")

    def _tries(self, step: Step) -> None:
        self._wait(lambda: self._stack.code is not None, 2.0 * START_S, "the end of the trials")
        if self._stack.code:
            raise _Failure(f"the trials ended with exit code {self._stack.code}")
        missing = [word for word in step.words if word not in self._stack.report()]
        if missing:
            raise _Failure(f"the report does not say {', '.join(missing)}")

    def _do(self, step: Step) -> None:
        (action,) = step.words
        if action in IN_MOTION:
            plant = self._double.plant
            self._wait(lambda: float(np.abs(plant.velocity).max()) > MOVING_RAD_S, STEP_S, "motion")
        getattr(self._stack if action in OF_STACK else self._double, action)()
        self._is_expected_dead |= action in OF_STACK

    def _check_holds(self) -> None:
        """Check that a calm case had no holds but those of a start and of a busy machine."""
        if self._row.case.is_calm:
            expected = (*OF_START, *OF_MACHINE)
            holds = {kind: n for kind, n in self._double.holds.items() if kind not in expected}
            if holds:
                raise _Failure(f"the arm was held without reason: {holds}")

    def _end(self) -> None:
        """Ctrl-C: the processes end, and the arm rests from then on."""
        stack, double = self._stack, self._double
        was_running = stack.code is None
        stack.interrupt()
        self._wait(lambda: stack.code is not None, START_S, "the end of the processes")
        made_none = self._row.mode == "trials" and stack.code == NO_ROWS
        if was_running and stack.code and not self._is_expected_dead and not made_none:
            last = _last_line(stack.output)
            raise _Failure(f"Ctrl-C ended with exit code {stack.code}, expected 0: {last}")
        double.run_for(SETTLE_S)
        commands, path = self._record.commands, self._record.path_rad
        double.run_for(WATCH_S)
        if self._record.commands > commands:
            sent = self._record.commands - commands
            raise _Failure(f"{sent} commands came after the end of the processes")
        moved = self._record.path_rad - path
        if moved > RESTED_RAD and self._row.arm.interface != "effort":
            raise _Failure(f"the arm moved {moved:.3f} rad after the end of the processes")

    # --- parts of steps ---

    def _wait(self, condition: object, timeout_s: float, what: str) -> None:
        """Play the arm until a condition holds.

        Raises:
            _Failure: It did not, or the stack ended meanwhile.
        """
        stack, double = self._stack, self._double
        was_running = stack.code is None
        ended = False

        def is_over() -> bool:
            nonlocal ended
            ended = was_running and stack.code is not None
            return bool(condition()) or ended  # type: ignore[operator]

        over = double.run_until(is_over, timeout_s)
        if over and (condition() or not ended):  # type: ignore[operator]
            return
        if ended and not self._is_expected_dead:
            raise _Failure(f"the stack ended with exit code {stack.code}, expected {what}: {_last_line(stack.output)}")
        raise _Failure(f"not within {timeout_s:g} s: {what}; the actor says '{double.status}', terminal: {_last_line(stack.output)}")

    def _expect_nothing_sent(self) -> None:
        if self._record.commands or self._record.path_rad > RESTED_RAD:
            raise _Failure(f"{self._record.commands} commands came and the arm moved {self._record.path_rad:.3f} rad, expected none")

    def _fill(self, word: str) -> str:
        arm, prefix = self._row.arm, self._double.habits.prefix
        return word.format(
            controller=arm.controller,
            mode=arm.mode,
            joint=prefix + self._double.robot.joints[0],
            driver=BROADCASTER,
            other=OTHER_DRIVER,
        )


def make_double(row: Row, robot: RobotConfig, config: object, domain: int) -> DriverDouble:
    """Return the double of a row's arm, near its neutral pose and at rest."""
    arm, case = row.arm, row.case
    habits = replace(arm.habits, **case.habits)  # type: ignore[arg-type]
    start = np.array(robot.neutral_position) + START_RAD
    scene = config.scene  # type: ignore[attr-defined]
    plant: KinematicArm | DynamicArm = KinematicArm(start, case.servo_s)
    if arm.interface == "effort":
        plant = DynamicArm(scene, robot, start)
    period_s = 1.0 / config.control_rate_hz  # type: ignore[attr-defined]
    recorder = Recorder(robot, arm.interface, period_s, _Tool(robot).position)
    return DriverDouble(arm, robot, habits, plant, recorder, domain, speed=case.speed_slider)


class _Tool:
    """Forward kinematics of the arm's tool, straight from its MJCF."""

    def __init__(self, robot: RobotConfig) -> None:
        self._model = load_model(robot.model)
        self._data = mujoco.MjData(self._model)
        self._address = [self._model.joint(name).qposadr[0] for name in robot.joints]
        self._site = self._model.site(robot.tool).id

    def position(self, joints: Vector) -> Vector:
        """Return where the tool is (3,) [m]."""
        self._data.qpos[self._address] = joints
        mujoco.mj_kinematics(self._model, self._data)
        return np.array(self._data.site_xpos[self._site])


def _can_import(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"
