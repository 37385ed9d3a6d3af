"""The simulated arm and an actor in one process, control step by control step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sql_ros.robot.actor import Actor, Step
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.task import Episode, Task
from sql_ros.robot.trials import Row, TrialActor
from sql_ros.sim.simulation import Simulation


class SimulatedArm:
    """The scene of a task, read and driven at its control rate."""

    def __init__(self, task: Task) -> None:
        self.sim = Simulation(task.config.scene, task.robot, goal=True)
        self._arm = Arm(task.robot)
        self._mode, self._variation = task.config.command_mode, task.config.variation
        self._period_s = 1.0 / task.config.control_rate_hz
        self._period = self.sim.physics_steps(task.config.control_rate_hz)

    def state(self) -> RobotState:
        """The arm now."""
        measured = self.sim.measure()
        return self._arm.state(measured.stamp_ns, measured.position, measured.velocity, measured.effort)

    def follow(self, actor: Actor) -> Step:
        """One control step: the actor sees the state, its command is applied for one period."""
        step = actor.step(self.state())
        self.sim.command(self._mode, step.command, self._period_s)
        self.sim.advance(self._period)
        return step

    def try_once(self, actor: TrialActor, show: Callable[[int, Vector], None] = lambda step, force: None) -> Row | None:
        """One trial of the actor's session, from its start pose.

        Args:
            actor: with a session.
            show: told before every control step its number and the force of a push (3,) [N].

        Returns:
            What the trial gave; None where the session is over.
        """
        trial, made, step = actor.session.trial, len(actor.session.rows), 0
        if trial is None:
            return None
        self.begin(actor, trial.episode, trial.repeat)
        while len(actor.session.rows) == made:
            show(step, self.sim.push_force())
            self.follow(actor)
            step += 1
            if actor.wish is not None:
                self.sim.disturb(actor.wish)
            while self.sim.loses_state():
                self.sim.advance(self._period)
                step += 1
        return actor.session.rows[-1]

    def begin(self, actor: Actor, episode: Episode, seed: int = 0) -> None:
        """Puts the arm at the start of an episode; the seed is that of what the task lets vary."""
        self.sim.vary(self._variation, np.random.default_rng(seed))
        self.sim.reset(episode.start)
        self.sim.place("goal", episode.target)
        actor.begin(episode)
