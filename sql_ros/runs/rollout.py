"""The simulated arm with an actor in one process, control step by control step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.control.step import Step
from sql_ros.robot.task import Episode, Task
from sql_ros.sim.object_sensor import ObjectSensor
from sql_ros.sim.simulation import Simulation
from sql_ros.trials.trial import TrialResult
from sql_ros.trials.trial_runner import TrialRunner


class SimulatedArm:
    """The arm in the scene of a task, measured and commanded at the control rate of the task.

    Args:
        task: The task.

    Attributes:
        sim: The simulation.
    """

    def __init__(self, task: Task) -> None:
        config = task.config
        self.sim = Simulation(config.scene, task.robot, goal=True, objects=config.object_names)
        rng = np.random.default_rng(0)
        self._sensor = ObjectSensor(self.sim, config.objects, config.control_rate_hz, rng)
        self._arm = Arm(task.robot)
        self._mode = task.config.command_mode
        self._variation = task.config.variation
        self._period_s = 1.0 / task.config.control_rate_hz
        self._period = self.sim.physics_steps(task.config.control_rate_hz)

    def state(self) -> RobotState:
        """Return the measured state of the arm and of the objects."""
        measured = self.sim.measure()
        return self._arm.state(
            measured.stamp_ns,
            measured.position,
            measured.velocity,
            measured.effort,
            self._sensor.observe(),
        )

    def follow(self, actor: Actor) -> Step:
        """Make one control step: the actor acts on the state, and its command is applied.

        The simulation advances by one control period.

        Args:
            actor: The actor; its episode must have begun.

        Returns:
            The step of the actor.
        """
        step = actor.step(self.state())
        self.sim.command(self._mode, step.command, self._period_s)
        self.sim.advance(self._period)
        return step

    def try_once(
        self, runner: TrialRunner, show: Callable[[int, Vector], None] = lambda step, force: None
    ) -> TrialResult | None:
        """Run the next trial of a session, from its start pose.

        The perturbations that the runner asks for are applied to the simulation. A control step
        whose state is dropped is not seen by the actor.

        Args:
            runner: Runs the trials. The result is appended to the rows of its session.
            show: Called before each control step that the actor sees, with the number of the step
                and the force of a push (3,), zero without one [N].

        Returns:
            The result of the trial; None if the session is over.
        """
        trial = runner.session.trial
        made = len(runner.session.rows)
        step = 0
        if trial is None:
            return None
        self.begin(runner.actor, trial.episode, trial.repeat)
        while len(runner.session.rows) == made:
            show(step, self.sim.push_force())
            self.follow(runner.actor)
            step += 1
            if runner.pending_disturbance is not None:
                self.sim.disturb(runner.pending_disturbance)
            while self.sim.drops_state():
                self.sim.advance(self._period)
                step += 1
        return runner.session.rows[-1]

    def begin(self, actor: Actor, episode: Episode, seed: int = 0) -> None:
        """Put the arm at the start of an episode, and begin the episode of the actor.

        The arm's variation is drawn, which ends all disturbances. The goal marker and the objects
        of the episode are placed.

        Args:
            actor: The actor.
            episode: Start pose, target and objects.
            seed: Seed of the arm's variation from its model, and of the objects' noise.
        """
        self.sim.vary(self._variation, np.random.default_rng(seed))
        self.sim.reset(episode.start)
        self.sim.place("goal", episode.target)
        self.sim.place_objects(episode.objects)
        self._sensor.restart(np.random.default_rng([seed, 1]))
        actor.begin(episode)
