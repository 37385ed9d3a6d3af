"""A task and a simulated arm as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.control.action_mapper import Drive
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

Observation = npt.NDArray[np.float32]


class ArmEnv(gymnasium.Env[Observation, Observation]):
    """An arm with the same observation, reward, success and safety filter as in the stack.

    A `step` is a control step.

    Args:
        task: Name of a file in config/tasks/, or a path.
        render_mode: None, or "rgb_array" for pictures of 480 x 640.
        options: Options of the task, in place of what its file says.

    `info` holds "distance" [m] and "is_success": whether the goal has been held long enough. At the
    end of an episode that is its success. The environment truncates an episode by itself after
    the time that the task states.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(
        self, task: str = "sawyer_reach", render_mode: str | None = None, **options: Any
    ) -> None:
        self.task = load_task(task, **options)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(self.task.config.control_rate_hz)}
        spec = self.task.spec
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (spec.observation_size,), np.float32
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)
        self._arm = Arm(self.task.robot)
        self._sim = Simulation(self.task.config.scene, self.task.robot, goal=True)
        self._period = self._sim.physics_steps(self.task.config.control_rate_hz)
        self._drive = Drive(self.task)
        self._renderer: mujoco.Renderer | None = None
        self._steps = self._streak = 0

    @property
    def max_episode_steps(self) -> int:
        """Control steps after which this environment truncates an episode."""
        return self.task.episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Put the arm at a start pose drawn from the seed.

        Args:
            seed: Seed of the draws; None: they continue.
            options: Not used.

        Returns:
            Observation (S,) and info.
        """
        super().reset(seed=seed)
        self._episode = self.task.begin(self.np_random)
        self._sim.vary(self.task.config.variation, self.np_random)
        self._sim.reset(self._episode.start)
        self._sim.place("goal", self._episode.target)
        self._drive.safety.forget()
        self._steps = self._streak = 0
        self._state = self._measure()
        return self.task.observe(self._state, self._episode), self._info()

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply an action (A,) in [-1, 1] for one control period."""
        driven = self._drive.act(action, self._state)
        self._apply(driven.command)
        self._steps += 1
        self._streak = self._streak + 1 if self.task.is_reached(self._state, self._episode) else 0
        terminated = self.task.is_terminated(self._state, self._episode)
        truncated = not terminated and self._steps >= self.task.episode_steps
        reward, observation = (
            self.task.reward(self._state, driven.applied, self._episode),
            self.task.observe(self._state, self._episode),
        )
        if truncated:
            self._release()
        return observation, reward, terminated, truncated, self._info()

    def _release(self) -> None:
        """Let go of the arm for the time that the task states.

        The episode is no success if the goal is not kept.
        """
        for _ in range(self.task.release_steps):
            self._apply(self._drive.release(self._state))
        if not self.task.is_reached(self._state, self._episode):
            self._streak = 0

    def _apply(self, command: Vector) -> None:
        """Send a command to the simulated arm for one control period."""
        self._sim.command(
            self.task.spec.command_mode, command, 1.0 / self.task.spec.control_rate_hz
        )
        self._sim.advance(self._period)
        self._state = self._measure()

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture (480, 640, 3) of the scene, if made with render_mode="rgb_array"."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self._sim.model, height=480, width=640)
        mujoco.mj_kinematics(self._sim.model, self._sim.data)
        self._renderer.update_scene(self._sim.data, camera="overview")
        picture: npt.NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _measure(self) -> RobotState:
        """Return the measured state of the simulated arm."""
        measured = self._sim.measure()
        return self._arm.state(
            measured.stamp_ns, measured.position, measured.velocity, measured.effort
        )

    def _info(self) -> dict[str, Any]:
        """Return the info of the present state."""
        return {
            "is_success": self._streak >= self.task.hold_steps,
            "distance": self.task.distance(self._state, self._episode),
        }
