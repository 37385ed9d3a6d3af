"""Play one row of the table, from start to verdict."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import mujoco
import numpy as np

from sql_ros.checks.drivers.cases import CaseStep
from sql_ros.checks.drivers.double import BROADCASTER, OTHER_DRIVER, DriverDouble
from sql_ros.checks.drivers.plant import DynamicArm, KinematicArm, wiring_matrix
from sql_ros.checks.drivers.recorder import MotionRecorder
from sql_ros.checks.drivers.stack_under_test import StackUnderTest
from sql_ros.checks.drivers.table import DriverRow
from sql_ros.checks.drivers.verdict import violations
from sql_ros.robot.arm import Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.model import load_model
from sql_ros.robot.tasks import load_task

START_RAD = 0.1  # offset of every joint from the neutral pose at the start
START_S = 90.0  # longest start of the processes, on a busy machine
STEP_S = 40.0  # longest wait for any other event
MOVED_RAD = 0.1  # a longer path of a joint counts as motion
RESTED_RAD = 0.01  # a shorter path counts as rest
SETTLE_S = 0.7  # after the begin of a hold, before it is judged
WATCH_S = 1.0  # for which a hold is judged
MOVING_RAD_S = 0.05  # speed from which an arm counts as moving
AT_REST_RAD_S = 0.01
COAST_S = 3.0  # longest way to rest of an arm that cannot be braked
NO_ROWS = 1  # exit code of trials that ended before the first one was finished
TRANSITIONS = 3
OF_START = (  # holds at a start
    "state_bad",
    "unheard",
    "unguarded",
    "controller",
    "policy_missing",
    "learner_missing",
    "description_missing",
    "robot",
)
OF_MACHINE = ("loop_late", "state_too_old", "state_late")  # holds on a busy machine
IN_MOTION = (
    "stop",
    "press",
    "unload_controller",
    "stop_states",
    "kill_actor",
    "kill_stack",
    "terminate_stack",
)
OF_STACK = ("kill_actor", "kill_stack", "terminate_stack")


@dataclass(frozen=True)
class RowResult:
    """Result of a row.

    Attributes:
        row: Name of the row, "arm/mode/case".
        state: "passed", "failed" or "not run".
        reason: What came and what was expected, or why the row was not run; empty if it passed.
        figures: Figures of the recorder by name; empty if the row was not run.
        wall_s: Duration [s].
    """

    row: str
    state: str
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0


class _Failure(Exception):
    """A step did not happen as expected."""


def play_row(row: DriverRow, policies: dict[str, Path], folder: Path, domain: int) -> RowResult:
    """Play a row in a DDS domain of its own, and judge its steps and the record of the arm.

    Args:
        row: Arm, mode and case.
        policies: ONNX file by name of the arm double.
        folder: Folder for all files of the row.
        domain: ROS_DOMAIN_ID.

    Returns:
        The result; "not run" if the arm needs messages that cannot be imported.
    """
    if row.arm.needs and not _can_import(row.arm.needs):
        return RowResult(
            str(row), "not run", f"messages missing: {row.arm.needs} cannot be imported"
        )
    began = time.monotonic()
    task = load_task(row.arm.task)
    double = make_double(row, task.robot, task.config, domain)
    try:
        failures = _Play(row, double, policies, folder, domain).run()
    finally:
        double.close()
    record = double.recorder.record
    unsafe = violations(record, task.robot, wired_wrong=row.case.wiring != "right")
    if any("step" in text for text in unsafe):
        unsafe.append(double.recorder.largest_step)
    failures += unsafe
    if record.refused_commands:
        failures.append(f"the controller refused: {double.recorder.refusal}")
    state = "failed" if failures else "passed"
    wall_s = time.monotonic() - began
    return RowResult(str(row), state, "; ".join(failures), record.figures(), wall_s)


class _Play:
    """Plays the steps of a case; each kind of step is the method with its name. Construction starts
    the stack.

    Args:
        row: Arm, mode and case.
        double: The arm's double; gets its controller here, unless the case begins without one.
        policies: ONNX file by name of the arm double.
        folder: Folder for all files of the row.
        domain: ROS_DOMAIN_ID.
    """

    def __init__(
        self,
        row: DriverRow,
        double: DriverDouble,
        policies: dict[str, Path],
        folder: Path,
        domain: int,
    ) -> None:
        self._row = row
        self._double = double
        self._record = double.recorder.record
        self._has_moved = False
        self._is_expected_dead = False
        if row.case.controller != "none":
            double.load_controller(other=row.case.controller == "other")
        self._stack = StackUnderTest(row, policies, folder, domain)

    def run(self) -> list[str]:
        """Play every step, end the stack, and kill what still runs.

        Returns:
            The first failure in words; empty: every step was as expected.
        """
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

    def _moves(self, step: CaseStep) -> None:
        """Wait until a joint has moved by `MOVED_RAD`, and let the arm move on for `WATCH_S`."""
        until = self._record.path_rad + MOVED_RAD
        self._wait(lambda: self._record.path_rad > until, START_S, "the arm to move")
        self._double.run_for(WATCH_S)
        self._has_moved = True

    def _waits(self, step: CaseStep) -> None:
        """Expect a hold that needs a start, with all words of the step, as `_holds` does; then call
        `~/start`.

        Raises:
            _Failure: The hold was not as expected, or the start was refused.
        """
        self._holds(CaseStep("holds", ("start_needed", *step.words)))
        self._start()

    def _identifies(self, step: CaseStep) -> None:
        """Wait until the actor reports that the arm is being identified; the arm may have moved
        from then on.
        """
        self._await_hold(CaseStep("holds", ("identifying",)))
        self._has_moved = True

    def _resumes(self, step: CaseStep) -> None:
        """Wait until the arm moves, and call `~/start` each time the actor reports that a start is
        needed.
        """
        double = self._double
        until = self._record.path_rad + MOVED_RAD

        def has_moved() -> bool:
            """Return whether a joint has moved by `MOVED_RAD` since the begin of the step."""
            return self._record.path_rad > until

        while not has_moved():
            self._wait(
                lambda: has_moved() or "start_needed" in double.holding,
                START_S,
                "the arm to move, or a start to be needed",
            )
            if not has_moved():
                self._start()
                double.holding = ""  # the next report says whether another start is needed
        self._moves(step)

    def _start(self) -> None:
        """Call `~/start` until it succeeds, at most for `ATTEMPT_S` of the double.

        Raises:
            _Failure: The last call was refused.
        """
        if refusal := self._double.call_start():
            raise _Failure(f"~/start was refused: {refusal}")

    def _await_hold(self, step: CaseStep) -> None:
        """Wait for a hold whose message has all words of the step. Of words separated by `|` one is
        enough.

        Raises:
            _Failure: No such hold came within `START_S`, or the stack ended.
        """
        words = [self._fill(word) for word in step.words]
        double = self._double

        def is_held() -> bool:
            """Return whether the actor reports a hold with the words of the step."""
            said = double.holding
            return bool(said) and all(any(w in said for w in word.split("|")) for word in words)

        self._wait(is_held, START_S, f"a hold that says {' and '.join(words)}")

    def _holds(self, step: CaseStep) -> None:
        """Expect a hold with all words of the step. The hold must last for `WATCH_S`, without
        motion and without transitions.

        Before the first motion of the case the arm must not have moved at all.

        Raises:
            _Failure: The hold did not come or ended, the arm moved, or a transition was made.
        """
        self._await_hold(step)
        double = self._double
        double.run_for(SETTLE_S)
        path = self._record.path_rad
        transitions = double.transitions
        double.run_for(WATCH_S)
        if not double.holding:
            raise _Failure(f"the hold that says {step.words} ended by itself: '{double.status}'")
        moved = self._record.path_rad - (path if self._has_moved else 0.0)
        if moved > RESTED_RAD:
            raise _Failure(f"the arm moved {moved:.3f} rad during the hold '{double.holding}'")
        if double.transitions > transitions:
            made = double.transitions - transitions
            raise _Failure(f"{made} transitions were made during the hold '{double.holding}'")

    def _notices(self, step: CaseStep) -> None:
        """Expect a hold as `_holds` does, but after motion.

        An arm under torques with a reversed joint cannot be braked by torques. It may coast to rest
        by friction, at most for `COAST_S`, before it is judged.
        """
        self._has_moved = True
        if self._row.arm.interface == "effort":
            self._await_hold(step)
            plant = self._double.plant
            self._double.run_until(
                lambda: float(np.abs(plant.velocity).max()) < AT_REST_RAD_S, COAST_S
            )
        self._holds(step)

    def _refused(self, step: CaseStep) -> None:
        """Expect that the start ends with exit code 2 and all words of the step on the terminal,
        without a command.

        Raises:
            _Failure: One of these was otherwise.
        """
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

    def _silent(self, step: CaseStep) -> None:
        """Expect reports of the actor, and neither commands nor motion for some seconds."""
        self._wait(lambda: bool(self._double.reports), START_S, "diagnostics of the actor")
        self._double.run_for(SETTLE_S + 3.0 * WATCH_S)
        self._expect_nothing_sent()

    def _rests(self, step: CaseStep) -> None:
        """Expect the arm at rest after the time in the step [s].

        Raises:
            _Failure: A joint is faster than `AT_REST_RAD_S`.
        """
        seconds = float(step.words[0])
        self._double.run_for(seconds)
        speed = float(np.abs(self._double.plant.velocity).max())
        if speed > AT_REST_RAD_S:
            raise _Failure(f"the arm moves at {speed:.3f} rad/s {seconds} s after the process died")

    def _learns(self, step: CaseStep) -> None:
        """Wait until `TRANSITIONS` transitions were published."""
        double = self._double
        self._wait(lambda: double.transitions >= TRANSITIONS, START_S, "transitions")

    def _asks(self, step: CaseStep) -> None:
        """Wait for a prompt that begins with the word of the step."""
        (word,) = step.words
        self._wait(
            lambda: self._double.prompt.startswith(word),
            STEP_S,
            f"a prompt that begins with {word}",
        )

    def _tries(self, step: CaseStep) -> None:
        """Expect that the trials end with exit code 0, with all words of the step in terminal
        output or report.

        Their prompts are answered meanwhile: a trial that was held by a busy machine is repeated.

        Raises:
            _Failure: One of these was otherwise.
        """

        def is_over() -> bool:
            self._double.answer_prompt()
            return self._stack.code is not None

        self._wait(is_over, 2.0 * START_S, "the end of the trials")
        if self._stack.code:
            raise _Failure(f"the trials ended with exit code {self._stack.code}")
        missing = [word for word in step.words if word not in self._stack.report()]
        if missing:
            raise _Failure(f"the report does not say {', '.join(missing)}")

    def _do(self, step: CaseStep) -> None:
        """Do the action of the step. An action in `IN_MOTION` waits until the arm moves.

        An action in `OF_STACK` ends the stack, whose exit code is not judged afterwards.
        """
        (action,) = step.words
        if action in IN_MOTION:
            plant = self._double.plant
            self._wait(lambda: float(np.abs(plant.velocity).max()) > MOVING_RAD_S, STEP_S, "motion")
        getattr(self._stack if action in OF_STACK else self._double, action)()
        self._is_expected_dead |= action in OF_STACK

    def _check_holds(self) -> None:
        """Check that in a calm case (`DriverCase.is_calm`) the actor reported only kinds of hold in
        `OF_START` and `OF_MACHINE`.

        Raises:
            _Failure: The actor reported other kinds.
        """
        if self._row.case.is_calm:
            expected = (*OF_START, *OF_MACHINE)
            holds = {kind: n for kind, n in self._double.holds.items() if kind not in expected}
            if holds:
                raise _Failure(f"the arm was held without reason: {holds}")

    def _end(self) -> None:
        """Send SIGINT to the stack; expect exit code 0, and then neither commands nor motion.

        The exit code is not judged if an action of the case ended the stack, or if trials had no
        finished row. An arm under torques may move afterwards.

        Raises:
            _Failure: One of these was otherwise.
        """
        stack = self._stack
        double = self._double
        was_running = stack.code is None
        stack.interrupt()
        self._wait(lambda: stack.code is not None, START_S, "the end of the processes")
        made_none = self._row.mode == "trials" and stack.code == NO_ROWS
        if was_running and stack.code and not self._is_expected_dead and not made_none:
            last = _last_line(stack.output)
            raise _Failure(f"Ctrl-C ended with exit code {stack.code}, expected 0: {last}")
        double.run_for(SETTLE_S)
        commands = self._record.commands
        path = self._record.path_rad
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

        Args:
            condition: Function without arguments, tested repeatedly.
            timeout_s: Longest time [s].
            what: Name of the awaited event, for the error.

        Raises:
            _Failure: The condition did not come to hold, or the stack ended meanwhile.
        """
        stack = self._stack
        double = self._double
        was_running = stack.code is None
        ended = False

        def is_over() -> bool:
            """Return whether the condition holds or the stack has ended; note in `ended` whether it
            has ended.
            """
            nonlocal ended
            ended = was_running and stack.code is not None
            return bool(condition()) or ended  # type: ignore[operator]

        over = double.run_until(is_over, timeout_s)
        if over and (condition() or not ended):  # type: ignore[operator]
            return
        if ended and not self._is_expected_dead:
            raise _Failure(
                f"the stack ended with exit code {stack.code}, expected {what}:"
                f" {_last_line(stack.output)}"
            )
        raise _Failure(
            f"not within {timeout_s:g} s: {what}; the actor says '{double.status}', terminal:"
            f" {_last_line(stack.output)}"
        )

    def _expect_nothing_sent(self) -> None:
        """Check that no command has come and the arm has not moved since the start of the case.

        Raises:
            _Failure: One of these happened.
        """
        if self._record.commands or self._record.path_rad > RESTED_RAD:
            raise _Failure(
                f"{self._record.commands} commands came and the arm moved"
                f" {self._record.path_rad:.3f} rad, expected none"
            )

    def _fill(self, word: str) -> str:
        """Return a word of a step with names of this row in place of braces.

        `{controller}` and `{mode}` are those of the arm. `{joint}` is the first joint with its
        prefix, `{second}` the second joint without. `{driver}` and `{other}` are the nodes of the
        first and the second publisher of states.

        Args:
            word: Word of a step, see `cases.CaseStep`.
        """
        arm = self._row.arm
        prefix = self._double.habits.prefix
        return word.format(
            controller=arm.controller,
            mode=arm.mode,
            joint=prefix + self._double.robot.joints[0],
            second=self._double.robot.joints[1],
            driver=BROADCASTER,
            other=OTHER_DRIVER,
        )


def make_double(row: DriverRow, robot: RobotConfig, config: object, domain: int) -> DriverDouble:
    """Return the double of a row's arm, `START_RAD` from its neutral pose and at rest, without a
    controller.

    If the case describes an arm, its URDF is published.

    Args:
        row: Arm, mode and case.
        robot: Robot file of the arm.
        config: Configuration of the task, with `scene` and `control_rate_hz`.
        domain: ROS_DOMAIN_ID.
    """
    arm = row.arm
    case = row.case
    habits = replace(arm.habits, **case.habits)  # type: ignore[arg-type]
    start = np.array(robot.neutral_position) + START_RAD
    scene = config.scene  # type: ignore[attr-defined]
    plant: KinematicArm | DynamicArm = KinematicArm(start, case.servo_s)
    if arm.interface == "effort":
        plant = DynamicArm(scene, robot, start)
    period_s = 1.0 / config.control_rate_hz  # type: ignore[attr-defined]
    recorder = MotionRecorder(robot, arm.interface, period_s, _Tool(robot).position)
    double = DriverDouble(
        arm,
        robot,
        habits,
        plant,
        recorder,
        domain,
        speed=case.speed_slider,
        wiring=wiring_matrix(case.wiring, len(start)),
    )
    if case.described:
        double.describe(case.described)
    return double


class _Tool:
    """Forward kinematics of the arm's tool, computed by MuJoCo.

    Args:
        robot: Robot file of the arm.
    """

    def __init__(self, robot: RobotConfig) -> None:
        self._model = load_model(robot)
        self._data = mujoco.MjData(self._model)
        self._address = [self._model.joint(name).qposadr[0] for name in robot.joints]
        self._site = self._model.site(robot.tool).id

    def position(self, joints: Vector) -> Vector:
        """Return the position of the tool (3,) [m] in the frame of the model.

        Args:
            joints: Joint positions (N,) [rad].
        """
        self._data.qpos[self._address] = joints
        mujoco.mj_kinematics(self._model, self._data)
        return np.array(self._data.site_xpos[self._site])


def _can_import(module: str) -> bool:
    """Return whether a module can be found."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _last_line(text: str) -> str:
    """Return the last line that is not empty, or "nothing"."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "nothing"
