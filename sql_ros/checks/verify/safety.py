"""Check the safety filter in closed loop with MuJoCo: hostile commands from random admissible
states, every limit observed.

The observed quantities come only from the simulation, contacts included, and from the numbers of
the configuration, never from the filter.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np

from sql_ros.checks.verify.checks import Check, Progress
from sql_ros.common.worker_pool import worker_pool
from sql_ros.policy.task_spec import COMMAND_MODES
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.control.step_schedule import declared_lateness_s
from sql_ros.robot.model import load_model
from sql_ros.robot.robot_file import load_robot
from sql_ros.robot.safety.clearance import Clearance
from sql_ros.robot.safety.filter import SafetyFilter
from sql_ros.robot.safety.velocity_commands import LONGEST_LATENCY_S
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.disturbance import Disturbance

RATES_HZ = (20.0, 100.0, 500.0)
EPISODE_S = 3.0  # length of an episode
# time in which the simulated velocity servo catches an arm that was set in motion: accelerations
# are not judged
TAKE_UP_S = 0.05
LOST_S = 0.1  # longest time without a new state
LOSSES_HZ = 3.0  # rate of losses of states in an episode that has them
LATE_STATES_S = 0.02  # longest delay of states in the cells with late states
MAX_LATENESS_S = 0.1  # default of the actor's `max_lateness_s`
# payload in the cells with a payload: as much as the inertia of the wrist allows
PAYLOAD_KG = {"sawyer": 0.5, "ur5e": 0.1}
WATCH_S = 0.01  # period of the observations


@dataclass
class Tally:
    """Observations of a closed loop, by kind of limit.

    Attributes:
        commands: Commands that were given to the filter.
        violations: Number of observations beyond each limit.
        worst: Largest share of each limit that was reached; above 1 the limit was broken. "contact"
            is 0, or at least 2 with a contact. "keep_out" is 0, or 2 with the tool in the box.
        interventions: Interventions of the filter by kind.
    """

    commands: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    interventions: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the observations of another closed loop to these, in place.

        Args:
            other: Observations of the other loop.
        """
        self.commands += other.commands
        self.violations += other.violations
        self.interventions += other.interventions
        for kind, share in other.worst.items():
            self.worst[kind] = max(share, self.worst.get(kind, 0.0))

    def observe(self, kind: str, share: float) -> None:
        """Record one observation of one limit.

        Args:
            kind: Name of the limit.
            share: Share of the limit that was used; above 1 the limit was broken.
        """
        self.worst[kind] = max(share, self.worst.get(kind, 0.0))
        self.violations[kind] += share > 1.0


class HostileLoop:
    """An arm in a scene with a safety filter, driven by hostile commands.

    For every episode two things are drawn: the delay of states up to the robot's `latency_s`, and a
    load of the hand up to its `payload_kg`.

    Args:
        robot: The arm, with its boxes.
        scene: MJCF of arm and surroundings, relative to the share folder.
        mode: Command mode.
        rate_hz: Control rate [Hz].
        seed: Seed of states and commands.
        lateness_s: Longest delay of a command, drawn for every command [s].
        servo: How the arm executes velocity commands. "": as simulated; "dead_time": every command
            takes effect later by up to the robot's `latency_s`; "lag": the servo is a first-order
            lag with a time constant of up to `latency_s`. States are not late with the last two.

    Attributes:
        filter: The safety filter.
    """

    def __init__(
        self,
        robot: RobotConfig,
        scene: str,
        mode: str,
        rate_hz: float,
        seed: int,
        lateness_s: float = 0.0,
        servo: str = "",
    ) -> None:
        self._robot = robot
        self._mode = mode
        self._period = 1.0 / rate_hz
        self._sim = Simulation(scene, robot)
        self._arm = Arm(robot)
        self.filter = SafetyFilter(robot, mode, self._period, scene, lateness_s)
        self._lateness = lateness_s
        # dead time or time constant in this episode
        self._servo = servo
        self._servo_s = 0.0
        # commands with the times at which they take effect
        self._under_way: deque[tuple[float, Vector]] = deque()
        # last command that took effect, and the output of the lag
        self._goal = self._taken = np.zeros(len(robot.joints))
        self._delay_ns = 0  # delay of states in this episode
        self._history: deque[RobotState] = deque()
        self._sent = np.zeros(0)
        self._acted_s = 0.0  # time for which the last command acted
        model = self._sim.model
        self._shapes = _moved_shapes(self._sim)
        self._bodies = model.geom_bodyid[self._shapes]
        self._roots = model.body_rootid[self._bodies]
        self._halves = model.geom_aabb[self._shapes, 5:]
        self._adversary = Clearance(robot, scene)  # finds motions towards a collision
        self._rng = np.random.default_rng(seed)
        self._chunk = self._sim.physics_steps(max(1.0 / WATCH_S, rate_hz))
        self._steps = self._sim.physics_steps(rate_hz)
        self._speed = np.array(robot.velocity_limit)
        self._points = [self._sim.model.site(robot.tool).id]
        self._known: RobotState | None = None  # the last state that was not lost
        self._lost_until_ns = 0
        self._losses_hz = 0.0

    def run(self, commands: int) -> Tally:
        """Give commands in episodes of at most `EPISODE_S`, each from a new state and by one random
        policy.

        Args:
            commands: Number of commands in all.

        Returns:
            The observations, with the interventions of the filter since its construction.
        """
        tally = Tally()
        while tally.commands < commands:
            self._draw_start()
            policy = self._policies()[self._rng.integers(len(self._policies()))]
            for step in range(max(round(EPISODE_S / self._period), 10)):
                self._step(policy, tally, step * self._period)
                tally.commands += 1
                if tally.commands >= commands:
                    break
        tally.interventions += self.filter.interventions
        return tally

    def _delayed_state(self, state: RobotState) -> RobotState:
        """Keep the present state, and return the newest state that has arrived at the actor.

        Args:
            state: The present state; also the result if states are not late in this episode.
        """
        history = self._history
        history.append(state)
        while len(history) > 1 and history[1].stamp_ns <= state.stamp_ns - self._delay_ns:
            history.popleft()
        return history[0]

    def _known_state(self, state: RobotState) -> RobotState:
        """Return the state that the filter gets: the given one, or the last one before a loss while
        states are lost.

        Draws whether a loss begins.

        Args:
            state: The newest state that has arrived.
        """
        if self._known is None or state.stamp_ns >= self._lost_until_ns:
            self._known = state
            if self._rng.random() < self._losses_hz * self._period:
                self._lost_until_ns = state.stamp_ns + round(1e9 * self._rng.uniform(0.0, LOST_S))
        return self._known

    def _state(self) -> RobotState:
        """Return the simulated state of the arm."""
        m = self._sim.measure()
        return self._arm.state(m.stamp_ns, m.position, m.velocity, m.effort)

    def _draw_start(self) -> None:
        """Begin an episode: put the arm into a random state from which it can stop, and draw
        delays, losses and payload.

        In position mode, with a payload and with a slow servo the arm begins at rest. The filter
        forgets the episode before.
        """
        robot = self._robot
        rng = self._rng
        self.filter.forget()
        self._known = None
        self._lost_until_ns = 0
        self._losses_hz = rng.choice([0.0, 0.0, LOSSES_HZ])
        self._history.clear()
        if robot.latency_s:
            latency_s = float(rng.choice([robot.latency_s, rng.uniform(0.0, robot.latency_s)]))
            self._servo_s = latency_s if self._servo else 0.0
            self._delay_ns = 0 if self._servo else round(1e9 * latency_s)
        while True:
            margin = robot.position_margin_rad
            position = rng.uniform(
                np.array(robot.position_lower) + margin, np.array(robot.position_upper) - margin
            )
            self._sim.reset(position)  # also computes the kinematics for the last check below
            # a position servo that begins where the arm is brakes it, and a payload is weighed
            # first: such trials begin at rest
            begins_at_rest = self._mode == "position" or robot.payload_kg > 0.0 or bool(self._servo)
            moving = 0.0 if begins_at_rest else rng.choice([0.0, 0.3, 0.9])
            velocity = rng.uniform(-1.0, 1.0, len(position)) * self._speed * moving
            self._sim.data.qvel[self._sim.velocity_address] = velocity
            if self.filter.is_stoppable(self._state()) and not self._runs_through_something():
                break
        self._under_way.clear()
        self._goal = self._taken = np.zeros(len(position))
        if robot.payload_kg:
            payload = float(rng.choice([robot.payload_kg, rng.uniform(0.0, robot.payload_kg)]))
            self._sim.disturb(Disturbance("payload", payload))

    def _runs_through_something(self) -> bool:
        """Return whether the axis of a shape of the arm lies inside a box.

        MuJoCo reports no contact of a capsule so deep in a box.
        """
        model = self._sim.model
        data = self._sim.data
        boxes = [
            geom
            for geom in range(model.ngeom)
            if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX and model.geom_contype[geom]
        ]
        for geom in np.unique(self._adversary.pairs[:, 1]):
            half = model.geom_size[geom, 1] * (
                model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_SPHERE
            )
            axis = (
                data.geom_xpos[geom]
                + np.linspace(-half, half, 41)[:, None] * data.geom_xmat[geom].reshape(3, 3)[:, 2]
            )
            for box in boxes:
                inside = (axis - data.geom_xpos[box]) @ data.geom_xmat[box].reshape(3, 3)
                if box != geom and (np.abs(inside) < model.geom_size[box]).all(1).any():
                    return True
        return False

    def _policies(self) -> list[Callable[[RobotState], Vector]]:
        """Return the hostile policies, with newly drawn constants.

        Each maps a state to wished joint velocities (N,), as shares of the limits. They may be not
        finite.
        """
        rng = self._rng
        n = len(self._speed)
        held = rng.uniform(-1.5, 1.5, n)
        signs = rng.choice([-1.0, 1.0], n)
        return [
            lambda state: rng.uniform(-1.0, 1.0, n),
            lambda state: held,
            lambda state: 1e3 * signs,
            lambda state: 100.0 * rng.choice([-1.0, 1.0], n),
            lambda state: np.sign(state.velocity + 1e-3 * signs) * 2.0,
            self._towards_contact,
            lambda state: self._towards_contact(state) + 0.5 * rng.standard_normal(n),
            lambda state: np.where(
                rng.random(n) < 0.1, rng.choice([np.nan, np.inf, -np.inf, 1e300], n), held
            ),
        ]

    def _towards_contact(self, state: RobotState) -> Vector:
        """Return a fast motion towards the nearest obstacles (N,), as shares of the velocity
        limits.

        Without an obstacle in the scene a random corner of the limits is returned.

        Args:
            state: State of the arm.
        """
        distance = self._adversary.measure_all(state.position)
        nearest, _ = self._adversary.gradients(
            distance <= np.sort(distance)[:3].max(initial=-np.inf)
        )
        if not len(nearest):
            return np.asarray(self._rng.choice([-1.0, 1.0], len(self._speed)))
        return np.asarray(-2.0 * np.sign(self._rng.dirichlet(np.ones(len(nearest))) @ nearest))

    def _step(self, policy: Callable[[RobotState], Vector], tally: Tally, since_s: float) -> None:
        """Make one control step: wish, filter, simulation, observations.

        The acceleration that is observed is that of the arm; in velocity mode with late commands or
        a slow servo, that between two commands. At the begin of an episode in velocity mode, and in
        position mode with late commands, none is observed.

        Args:
            policy: Maps a state to wished joint velocities, as shares of the limits.
            tally: Observations, changed in place.
            since_s: Time since the begin of the episode [s].
        """
        actual = self._state()
        state = self._known_state(self._delayed_state(actual))
        share = policy(state)
        with np.errstate(invalid="ignore", over="ignore"):
            if self._mode == "velocity":
                wish = share * self._speed
            elif self._mode == "position":
                wish = state.position + share * self._speed * self._period * self._rng.choice(
                    [1.0, 3.0]
                )
            else:
                wish = share * np.array(self._robot.effort_limit)
        command = self.filter.admit(wish, state)
        if self._servo:
            dead_s = self._servo_s if self._servo == "dead_time" else 0.0
            self._under_way.append((1e-9 * actual.stamp_ns + dead_s, command))
        else:
            self._sim.command(self._mode, command, self._period)
        elapsed_s = self._act(tally)
        # an arm with late commands brakes as its servo does: judge the velocity commands instead
        if (self._lateness or self._servo) and self._mode == "velocity" and since_s:
            change = np.abs(command - self._sent) / self._acted_s
        elif self._servo:
            change = np.zeros(0)
        elif self._mode == "torque" or (
            not self._lateness and (self._mode == "position" or since_s >= TAKE_UP_S)
        ):
            change = np.abs(self._sim.measure().velocity - actual.velocity) / elapsed_s
        else:
            change = np.zeros(0)
        self._sent = command
        self._acted_s = elapsed_s
        if len(change):
            tally.observe("acceleration", float((change / self._robot.acceleration_limit).max()))

    def _act(self, tally: Tally) -> float:
        """Let the commands act for a control period and a random lateness, and observe the limits
        meanwhile. With a lateness, tell the filter how long the command acted.

        Args:
            tally: Observations, changed in place.

        Returns:
            For how long the command acted [s].
        """
        step_s = self._sim.model.opt.timestep
        left = self._steps
        if self._lateness:
            left += round(
                self._rng.choice([0.0, 1.0, self._rng.random()]) * self._lateness / step_s
            )
        elapsed_s = left * step_s
        while left:
            count = min(self._chunk, left)
            if self._servo:
                self._follow_commands(count * step_s)
            self._sim.advance(count)
            left -= count
            self._observe_limits(tally)
            if left and self._delay_ns:
                self._history.append(self._state())
        if self._lateness:
            self.filter.elapsed(elapsed_s)
        return float(elapsed_s)

    def _follow_commands(self, seconds: float) -> None:
        """Let the servo follow the commands that take effect within a time.

        Args:
            seconds: Length of the time [s].
        """
        now = 1e-9 * self._sim.measure().stamp_ns
        # a command takes effect not later than after the dead time
        while self._under_way and self._under_way[0][0] <= now + seconds:
            _, self._goal = self._under_way.popleft()
        is_lag = self._servo == "lag" and self._servo_s > 0.0
        share = 1.0 - np.exp(-seconds / self._servo_s) if is_lag else 1.0
        self._taken = self._taken + share * (self._goal - self._taken)
        self._sim.command(self._mode, self._taken, self._period)

    def _fastest_shape(self) -> float:
        """Return the largest speed of an end of a collision shape that the arm moves [m/s]."""
        data = self._sim.data
        shapes = self._shapes
        bodies = self._bodies
        twist = data.cvel[bodies]
        turning = twist[:, :3]
        middle = twist[:, 3:] + np.cross(
            turning, data.geom_xpos[shapes] - data.subtree_com[self._roots]
        )
        end = np.cross(turning, data.geom_xmat[shapes][:, 2::3] * self._halves)
        return float(
            np.sqrt(np.maximum(((middle + end) ** 2).sum(1), ((middle - end) ** 2).sum(1)).max())
        )

    def _observe_limits(self, tally: Tally) -> None:
        """Record the shares of positions, velocities, efforts, speeds, contacts and boxes at this
        moment.

        Args:
            tally: Observations, changed in place.
        """
        robot = self._robot
        sim = self._sim
        m = sim.measure()
        middle = 0.5 * (np.array(robot.position_upper) + robot.position_lower)
        tally.observe(
            "position",
            float((np.abs(m.position - middle) / (np.array(robot.position_upper) - middle)).max()),
        )
        tally.observe("velocity", float((np.abs(m.velocity) / self._speed).max()))
        tally.observe("effort", float((np.abs(m.effort) / robot.effort_limit).max()) - 1e-9)
        jacobian = sim.tool_jacobian()
        tally.observe(
            "tip_speed", float(np.linalg.norm(jacobian @ m.velocity)) / robot.tip_speed_limit_m_s
        )
        tally.observe("link_speed", self._fastest_shape() / robot.tip_speed_limit_m_s)
        tally.observe("contact", 2.0 * sim.data.ncon)
        tool = sim.data.site_xpos[sim.model.site(robot.tool).id]
        if robot.workspace:
            low, high = np.array(robot.workspace).reshape(2, 3)
            tally.observe(
                "workspace", float((np.abs(tool - (low + high) / 2) / ((high - low) / 2)).max())
            )
        for box in robot.keep_out:
            low, high = np.array(box).reshape(2, 3)
            tally.observe("keep_out", 2.0 * float(((tool > low) & (tool < high)).all()))


def _moved_shapes(sim: Simulation) -> list[int]:
    """Return the ids of the collision shapes that a joint moves."""
    model = sim.model
    moves = model.body_dofnum[model.body_weldid[model.geom_bodyid]] > 0
    return [int(geom) for geom in np.flatnonzero(moves & (model.geom_contype > 0))]


@dataclass(frozen=True)
class Cell:
    """An arm, its surroundings, and what is made difficult for the filter.

    Attributes:
        name: Name of the cell.
        robot: The arm; its latency and payload are the largest that are drawn.
        scene: MJCF, relative to the share folder.
        late: Whether commands come late, by up to the lateness that the actor declares at the rate.
        modes: Command modes.
        servo: How the arm executes velocity commands; see `HostileLoop`.
    """

    name: str
    robot: RobotConfig
    scene: str
    late: bool = False
    modes: tuple[str, ...] = COMMAND_MODES
    servo: str = ""


def cells() -> list[Cell]:
    """Return the cells that are checked.

    They are the shipped arms in their scenes, a Sawyer with workspace and keep-out box, and the
    cells of `hard_cells` for both arms.
    """
    sawyer = load_robot("sawyer")
    scene = "sim/scenes/sawyer_reach.xml"
    boxed = replace(
        sawyer,
        workspace=(-0.9, -0.9, -0.3, 1.1, 0.9, 1.2),
        keep_out=((0.3, 0.2, -0.1, 0.6, 0.5, 0.4),),
    )
    return [
        Cell("sawyer", sawyer, scene),
        Cell("sawyer with boxes", boxed, scene),
        Cell("ur5e", load_robot("ur5e"), "sim/scenes/ur5e_reach.xml"),
        *hard_cells("sawyer", sawyer, scene),
        *hard_cells("ur5e", load_robot("ur5e"), "sim/scenes/ur5e_reach.xml"),
    ]


def hard_cells(name: str, robot: RobotConfig, scene: str) -> list[Cell]:
    """Return the difficult cells of an arm: late states, late commands, a payload that its gravity
    compensation ignores, slow servos.

    Args:
        name: Name of the arm, key of `PAYLOAD_KG`.
        robot: The arm.
        scene: MJCF, relative to the share folder.
    """
    slow = replace(robot, latency_s=LONGEST_LATENCY_S)
    loaded = replace(
        robot, payload_kg=PAYLOAD_KG[name], payload_center_m=_hand_center(robot, scene)
    )
    return [
        Cell(f"{name} with late states", replace(robot, latency_s=LATE_STATES_S), scene),
        Cell(f"{name} with late commands", robot, scene, late=True),
        Cell(f"{name} with a payload", loaded, scene, modes=("torque",)),
        Cell(f"{name} with a dead time", slow, scene, modes=("velocity",), servo="dead_time"),
        Cell(f"{name} with a servo that lags", slow, scene, modes=("velocity",), servo="lag"),
    ]


def _hand_center(robot: RobotConfig, scene: str) -> tuple[float, ...]:
    """Return the centre of mass of the hand in the frame of the tool (3,) [m]. The simulation adds
    a payload there.

    Args:
        robot: The arm.
        scene: MJCF, relative to the share folder.
    """
    model = load_model(robot, scene)
    site = model.site(robot.tool)
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, site.quat)
    offset = turn.reshape(3, 3).T @ (model.body_ipos[int(site.bodyid[0])] - site.pos)
    return tuple(offset.tolist())


def safety_checks(commands: int, seed: int, progress: Progress, jobs: int) -> list[Check]:
    """Run every cell in every command mode at every rate, with the same number of commands each.

    Args:
        commands: Number of commands in all.
        seed: Seed of states and commands, the same in every loop.
        progress: Called with a line of text per closed loop.
        jobs: Closed loops at a time.

    Returns:
        The checks, over all rates by cell and mode: number of commands, interventions (at least
        one), and of each limit the violations (none) and the largest share (at most 1).
    """
    trials = [(cell, mode, rate) for cell in cells() for mode in cell.modes for rate in RATES_HZ]
    each = -(-commands // len(trials))
    tallies: dict[tuple[str, str], Tally] = {}
    with worker_pool(jobs) as pool:
        runs = {pool.submit(_tally, *trial, each, seed): trial for trial in trials}
        for run in as_completed(runs):
            cell, mode, rate = runs[run]
            tally = run.result()
            tallies.setdefault((cell.name, mode), Tally()).add(tally)
            worst = ", ".join(f"{kind} {share:.3f}" for kind, share in sorted(tally.worst.items()))
            progress(
                f"{cell.name}, {mode} at {rate:g} Hz, {tally.commands} commands, largest share of"
                f" each limit: {worst}"
            )
    checks = []
    for (cell_name, mode), tally in sorted(tallies.items()):
        group = f"safety, {cell_name}, {mode}"
        checks.append(
            Check(group, "hostile commands", tally.commands, each * len(RATES_HZ), "at least")
        )
        checks.append(
            Check(
                group,
                "commands that had to be changed",
                sum(tally.interventions.values()),
                1,
                "at least",
            )
        )
        checks += [
            Check(group, f"violations of {kind}", float(tally.violations[kind]), 0.0)
            for kind in tally.worst
        ]
        checks += [
            Check(group, f"largest share of {kind}", share, 1.0)
            for kind, share in tally.worst.items()
        ]
    return checks


def _tally(cell: Cell, mode: str, rate_hz: float, commands: int, seed: int) -> Tally:
    """Run one closed loop and return its observations. Called in a worker process.

    Args:
        cell: The cell.
        mode: Command mode.
        rate_hz: Control rate [Hz].
        commands: Number of commands.
        seed: Seed of states and commands.
    """
    lateness_s = declared_lateness_s(1.0 / rate_hz, MAX_LATENESS_S) if cell.late else 0.0
    return HostileLoop(cell.robot, cell.scene, mode, rate_hz, seed, lateness_s, cell.servo).run(
        commands
    )
