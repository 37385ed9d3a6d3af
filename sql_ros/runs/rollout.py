"""The simulated arm and an actor in one process, control step by control step."""

from __future__ import annotations

from sql_ros.robot.actor import Actor, Step
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.tasks.reach import Episode, Task
from sql_ros.sim.simulation import Simulation


class SimulatedArm:
    """The scene of a task, read and driven at its control rate."""

    def __init__(self, task: Task) -> None:
        self.sim = Simulation(task.config.scene, task.robot)
        self._arm = Arm(task.robot)
        self._mode = task.config.command_mode
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

    def begin(self, actor: Actor, episode: Episode) -> None:
        """Puts the arm at the start of an episode."""
        self.sim.reset(episode.start)
        actor.begin(episode)
