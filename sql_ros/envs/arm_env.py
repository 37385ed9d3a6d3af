"""A task with its simulated arm as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.control.step import outcome_of
from sql_ros.robot.tasks import load_task
from sql_ros.sim.object_sensor import ObjectSensor
from sql_ros.sim.simulation import Simulation

Observation = npt.NDArray[np.float32]


class ArmEnv(gymnasium.Env[Observation, Observation]):
    """A simulated arm with the same observation, reward, success and safety filter as in the stack.

    A `step` is a control step. The environment truncates an episode by itself after the time that
    the task states. `info` has "distance", from the tool to the goal [m], and "is_success": whether
    the goal has been held, without a break until now, as long as the task asks.

    Args:
        task: Name of a file in config/tasks/ without its suffix, or a path.
        render_mode: "rgb_array" for pictures (480, 640, 3); None: no pictures.
        options: Options of the task by name, in place of those in its file.

    Attributes:
        task: The task.

    Raises:
        ConfigError: The task, its robot or its scene cannot be loaded.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(self, task: str, render_mode: str | None = None, **options: Any) -> None:
        self.task = load_task(task, **options)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(self.task.config.control_rate_hz)}
        spec = self.task.spec
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (spec.observation_size,), np.float32
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)
        self._arm = Arm(self.task.robot)
        config = self.task.config
        self._sim = Simulation(
            config.scene, self.task.robot, goal=True, objects=config.object_names
        )
        rate_hz = config.control_rate_hz
        self._sensor = ObjectSensor(self._sim, config.objects, rate_hz, self.np_random)
        self._period = self._sim.physics_steps(rate_hz)
        self._mapper = ActionMapper(self.task)
        self._renderer: mujoco.Renderer | None = None
        self._steps = self._steps_at_goal = 0

    @property
    def max_episode_steps(self) -> int:
        """Return the number of control steps after which this environment truncates an episode."""
        return self.task.episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw an episode and the arm's variation from its model, and put the arm at the start.

        The safety filter forgets the commands sent, the goal marker is moved to the target, and
        objects to where the episode has them.

        Args:
            seed: Seed of the draws; None: the generator of earlier episodes goes on.
            options: Not used.

        Returns:
            Observation (S,), and info with "distance" to the goal [m] and "is_success".
        """
        super().reset(seed=seed)
        self._episode = self.task.begin(self.np_random)
        self._sim.vary(self.task.config.variation, self.np_random)
        self._sim.reset(self._episode.start)
        self._sim.place("goal", self._episode.target)
        self._sim.place_objects(self._episode.objects)
        self._sensor.restart(self.np_random)
        self._mapper.safety.forget()
        self._steps = self._steps_at_goal = 0
        self._state = self._measure()
        return self.task.observe(self._state, self._episode), self._info()

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply an action, after the safety filter, for one control period.

        Where the episode is truncated, the arm is then released for the time that the task states.

        Args:
            action: Action (A,) in [-1, 1].

        Returns:
            Observation (S,), reward, terminated, truncated, and info with "distance" to the goal
            [m] and "is_success"; at the end of the episode also "outcome", see `outcome_of`.
            Observation and reward are those before the release, info is that after it.
        """
        driven = self._mapper.act(action, self._state)
        self._apply(driven.command)
        self._steps += 1
        self._steps_at_goal = (
            self._steps_at_goal + 1 if self.task.is_reached(self._state, self._episode) else 0
        )
        terminated = self.task.is_terminated(self._state, self._episode)
        truncated = not terminated and self._steps >= self.task.episode_steps
        reward, observation = (
            self.task.transition_reward(self._state, driven.applied, self._episode),
            self.task.observe(self._state, self._episode),
        )
        if truncated:
            self._release()
        info = self._info()
        if terminated or truncated:
            info["outcome"] = outcome_of(success=info["is_success"], terminated=terminated)
        return observation, reward, terminated, truncated, info

    def _release(self) -> None:
        """Send the command of a released arm for the time that the task states.

        If the goal is not reached any more afterwards, the episode is no success.
        """
        for _ in range(self.task.release_steps):
            self._apply(self._mapper.release(self._state))
        if not self.task.is_reached(self._state, self._episode):
            self._steps_at_goal = 0

    def _apply(self, command: Vector) -> None:
        """Send a command to the simulated arm, advance it by one control period and measure it."""
        self._sim.command(
            self.task.spec.command_mode, command, 1.0 / self.task.spec.control_rate_hz
        )
        self._sim.advance(self._period)
        self._state = self._measure()

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture (480, 640, 3) by the camera "overview"; None without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self._sim.model, height=480, width=640)
        mujoco.mj_kinematics(self._sim.model, self._sim.data)
        self._renderer.update_scene(self._sim.data, camera="overview")
        picture: npt.NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the renderer, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _measure(self) -> RobotState:
        """Return the measured state of the simulated arm."""
        measured = self._sim.measure()
        return self._arm.state(
            measured.stamp_ns,
            measured.position,
            measured.velocity,
            measured.effort,
            self._sensor.observe(),
        )

    def _info(self) -> dict[str, Any]:
        """Return the info of the present state."""
        return {
            "is_success": self._steps_at_goal >= self.task.hold_steps,
            "distance": self.task.distance(self._state, self._episode),
        }
