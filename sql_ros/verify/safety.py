"""The safety filter in closed loop with MuJoCo: random and adversarial commands from random admissible states, every limit watched.

What is watched comes from the simulation alone, contacts included, and from the numbers of the config: nothing that the filter computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np

from sql_ros.core.parent import ending_with_this_process
from sql_ros.core.spec import COMMAND_MODES
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.clearance import Clearance
from sql_ros.robot.config import RobotConfig, load_robot
from sql_ros.robot.safety import SafetyFilter
from sql_ros.sim.simulation import Simulation
from sql_ros.verify.checks import Check, Progress

RATES_HZ = (20.0, 100.0, 500.0)
EPISODE_S = 3.0  # then another state is drawn
TAKE_UP_S = 0.05  # so long the simulated velocity servo takes to take up an arm that was set moving: accelerations do not count
LOST_S, LOSSES_HZ = (
    0.1,
    3.0,
)  # so long the actor acts on a state where no newer one comes, and so often that happens in a trial that loses states
WATCH_S = 0.01  # positions, speeds, efforts and contacts are looked at so often


@dataclass
class Tally:
    """What was seen.

    Attributes:
        commands: that were given to the filter.
        violations: of each limit.
        worst: largest share of each limit that was reached; "contact" and "keep_out" are 0 or more than 1.
        interventions: of the filter, by kind.
    """

    commands: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    interventions: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Takes another one in."""
        self.commands += other.commands
        self.violations += other.violations
        self.interventions += other.interventions
        for kind, share in other.worst.items():
            self.worst[kind] = max(share, self.worst.get(kind, 0.0))

    def see(self, kind: str, share: float) -> None:
        """A limit was used by a share; above 1 it was broken."""
        self.worst[kind] = max(share, self.worst.get(kind, 0.0))
        self.violations[kind] += share > 1.0


class Trial:
    """One arm in one scene in one command mode at one rate, driven by hostile commands.

    Args:
        robot: the arm, with its boxes.
        scene: MJCF of arm and surroundings.
        mode: command mode.
        rate_hz: of control.
        seed: of states and commands.
    """

    def __init__(self, robot: RobotConfig, scene: str, mode: str, rate_hz: float, seed: int) -> None:
        self._robot, self._mode, self._period = robot, mode, 1.0 / rate_hz
        self._sim, self._arm = Simulation(scene, robot), Arm(robot)
        self.filter = SafetyFilter(robot, mode, self._period, scene)
        self._adversary = Clearance(robot, scene)  # looks for ways to hit something
        self._rng = np.random.default_rng(seed)
        self._chunk = self._sim.physics_steps(max(1.0 / WATCH_S, rate_hz))
        self._chunks = self._sim.physics_steps(rate_hz) // self._chunk
        self._speed = np.array(robot.velocity_limit)
        self._points = [self._sim.model.site(robot.tool).id]
        self._known: RobotState | None = None  # last one that was not lost
        self._lost_until_ns, self._losses_hz = 0, 0.0

    def run(self, commands: int) -> Tally:
        """Gives so many commands."""
        tally = Tally()
        while tally.commands < commands:
            self._place()
            policy = self._policies()[self._rng.integers(len(self._policies()))]
            for step in range(max(round(EPISODE_S / self._period), 10)):
                self._step(policy, tally, step * self._period)
                tally.commands += 1
                if tally.commands >= commands:
                    break
        tally.interventions += self.filter.interventions
        return tally

    def _heard(self, state: RobotState) -> RobotState:
        """What the filter is given: the state, or an earlier one again while newer ones are lost."""
        if self._known is None or state.stamp_ns >= self._lost_until_ns:
            self._known = state
            if self._rng.random() < self._losses_hz * self._period:
                self._lost_until_ns = state.stamp_ns + round(1e9 * self._rng.uniform(0.0, LOST_S))
        return self._known

    def _state(self) -> RobotState:
        m = self._sim.measure()
        return self._arm.state(m.stamp_ns, m.position, m.velocity, m.effort)

    def _place(self) -> None:
        """A random state from which the arm can stop."""
        robot, rng = self._robot, self._rng
        self.filter.forget()
        self._known = None
        self._lost_until_ns, self._losses_hz = 0, rng.choice([0.0, 0.0, LOSSES_HZ])
        while True:
            margin = robot.position_margin_rad
            position = rng.uniform(np.array(robot.position_lower) + margin, np.array(robot.position_upper) - margin)
            self._sim.reset(position)  # with the kinematics that the last check below needs
            # a position servo that begins where the arm is brakes it: such a trial begins at rest
            moving = 0.0 if self._mode == "position" else rng.choice([0.0, 0.3, 0.9])
            velocity = rng.uniform(-1.0, 1.0, len(position)) * self._speed * moving
            self._sim.data.qvel[self._sim.velocity_address] = velocity
            if self.filter.is_stoppable(self._state()) and not self._runs_through_something():
                return

    def _runs_through_something(self) -> bool:
        """The axis of a shape of the arm lies inside a box; MuJoCo finds a capsule so deep in a box to be outside of it."""
        model, data = self._sim.model, self._sim.data
        boxes = [geom for geom in range(model.ngeom) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX and model.geom_contype[geom]]
        for geom in np.unique(self._adversary.pairs[:, 1]):
            half = model.geom_size[geom, 1] * (model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_SPHERE)
            axis = data.geom_xpos[geom] + np.linspace(-half, half, 41)[:, None] * data.geom_xmat[geom].reshape(3, 3)[:, 2]
            for box in boxes:
                inside = (axis - data.geom_xpos[box]) @ data.geom_xmat[box].reshape(3, 3)
                if box != geom and (np.abs(inside) < model.geom_size[box]).all(1).any():
                    return True
        return False

    def _policies(self) -> list[Callable[[RobotState], Vector]]:
        """Each gives joint velocities to strive for, in shares of the limits."""
        rng, n = self._rng, len(self._speed)
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
            lambda state: np.where(rng.random(n) < 0.1, rng.choice([np.nan, np.inf, -np.inf, 1e300], n), held),
        ]

    def _towards_contact(self, state: RobotState) -> Vector:
        """As fast as it goes towards what is nearest."""
        distance = self._adversary.look(state.position)
        nearest, _ = self._adversary.rows(distance <= np.sort(distance)[:3].max(initial=-np.inf))
        if not len(nearest):
            return np.asarray(self._rng.choice([-1.0, 1.0], len(self._speed)))
        return np.asarray(-2.0 * np.sign(self._rng.dirichlet(np.ones(len(nearest))) @ nearest))

    def _step(self, policy: Callable[[RobotState], Vector], tally: Tally, since_s: float) -> None:
        actual = self._state()
        state = self._heard(actual)
        share = policy(state)
        with np.errstate(invalid="ignore", over="ignore"):
            if self._mode == "velocity":
                wish = share * self._speed
            elif self._mode == "position":
                wish = state.position + share * self._speed * self._period * self._rng.choice([1.0, 3.0])
            else:
                wish = share * np.array(self._robot.effort_limit)
        self._sim.command(self._mode, self.filter.admit(wish, state), self._period)
        for _ in range(self._chunks):
            self._sim.advance(self._chunk)
            self._watch(tally)
        if self._mode != "velocity" or since_s >= TAKE_UP_S:
            change = np.abs(self._sim.measure().velocity - actual.velocity) / self._period
            tally.see("acceleration", float((change / self._robot.acceleration_limit).max()))

    def _watch(self, tally: Tally) -> None:
        robot, sim = self._robot, self._sim
        m = sim.measure()
        middle = 0.5 * (np.array(robot.position_upper) + robot.position_lower)
        tally.see("position", float((np.abs(m.position - middle) / (np.array(robot.position_upper) - middle)).max()))
        tally.see("velocity", float((np.abs(m.velocity) / self._speed).max()))
        tally.see("effort", float((np.abs(m.effort) / robot.effort_limit).max()) - 1e-9)
        jacobian = sim.tool_jacobian()
        tally.see("tip_speed", float(np.linalg.norm(jacobian @ m.velocity)) / robot.tip_speed_limit_m_s)
        tally.see("contact", 2.0 * sim.data.ncon)
        tool = sim.data.site_xpos[sim.model.site(robot.tool).id]
        if robot.workspace:
            low, high = np.array(robot.workspace).reshape(2, 3)
            tally.see("workspace", float((np.abs(tool - (low + high) / 2) / ((high - low) / 2)).max()))
        for box in robot.keep_out:
            low, high = np.array(box).reshape(2, 3)
            tally.see("keep_out", 2.0 * float(((tool > low) & (tool < high)).all()))


@dataclass(frozen=True)
class Cell:
    """An arm and what stands around it."""

    name: str
    robot: RobotConfig
    scene: str


def cells() -> list[Cell]:
    """The arms that are shipped in their scenes, and a Sawyer with a workspace and a box to keep out of."""
    sawyer, scene = load_robot("sawyer"), "sim/scenes/sawyer_reach.xml"
    boxed = replace(sawyer, workspace=(-0.9, -0.9, -0.3, 1.1, 0.9, 1.2), keep_out=((0.3, 0.2, -0.1, 0.6, 0.5, 0.4),))
    return [
        Cell("sawyer", sawyer, scene),
        Cell("sawyer with boxes", boxed, scene),
        Cell("ur5e", load_robot("ur5e"), "sim/scenes/ur5e_reach.xml"),
    ]


def safety_checks(commands: int, seed: int, progress: Progress, jobs: int) -> list[Check]:
    """Every cell, command mode and rate, with as many commands each, so that there are `commands` in all."""
    trials = [(cell, mode, rate) for cell in cells() for mode in COMMAND_MODES for rate in RATES_HZ]
    each = -(-commands // len(trials))
    tallies: dict[tuple[str, str], Tally] = {}
    with ProcessPoolExecutor(jobs, initializer=ending_with_this_process()) as pool:
        runs = {pool.submit(_tally, *trial, each, seed): trial for trial in trials}
        for run in as_completed(runs):
            cell, mode, rate = runs[run]
            tally = run.result()
            tallies.setdefault((cell.name, mode), Tally()).add(tally)
            worst = ", ".join(f"{kind} {share:.3f}" for kind, share in sorted(tally.worst.items()))
            progress(f"{cell.name}, {mode} at {rate:g} Hz, {tally.commands} commands, largest share of each limit: {worst}")
    checks = []
    for (cell_name, mode), tally in sorted(tallies.items()):
        group = f"safety, {cell_name}, {mode}"
        checks.append(Check(group, "hostile commands", tally.commands, each * len(RATES_HZ), "at least"))
        checks.append(Check(group, "commands that had to be changed", sum(tally.interventions.values()), 1, "at least"))
        checks += [Check(group, f"violations of {kind}", float(tally.violations[kind]), 0.0) for kind in tally.worst]
        checks += [Check(group, f"largest share of {kind}", share, 1.0) for kind, share in tally.worst.items()]
    return checks


def _tally(cell: Cell, mode: str, rate_hz: float, commands: int, seed: int) -> Tally:
    return Trial(cell.robot, cell.scene, mode, rate_hz, seed).run(commands)
