"""A task and a simulated arm as a Gymnasium environment."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.drive import Drive
from sql_ros.robot.tasks import load_task
from sql_ros.sim.simulation import Simulation

Observation = npt.NDArray[np.float32]


class ArmEnv(gymnasium.Env[Observation, Observation]):
    """One control step per `step`, the same observation, reward, success and safety filter as on the arm.

    Args:
        task: name of a file in config/tasks/, or a path.
        render_mode: None, or "rgb_array" for pictures of 480 x 640.
        options: of the task, in place of what its file says.

    `info` holds "distance" [m] and "is_success": up to now the goal has been held long enough, which at the end of an episode is its
    success. Truncation by time is left to this environment, since the task states it; it is never termination.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, task: str = "sawyer_reach", render_mode: str | None = None, **options: Any) -> None:
        self.task = load_task(task, **options)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(self.task.config.control_rate_hz)}
        spec = self.task.spec
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)
        self._arm = Arm(self.task.robot)
        self._sim = Simulation(self.task.config.scene, self.task.robot, goal=True)
        self._period = self._sim.physics_steps(self.task.config.control_rate_hz)
        self._drive = Drive(self.task)
        self._renderer: mujoco.Renderer | None = None
        self._steps = self._streak = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Puts the arm at a start pose drawn from the seed; no options."""
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
        """Applies an action (A,) in [-1, 1] for one control period."""
        driven = self._drive.act(action, self._state)
        self._apply(driven.command)
        self._steps += 1
        self._streak = self._streak + 1 if self.task.is_reached(self._state, self._episode) else 0
        terminated = self.task.is_terminated(self._state, self._episode)
        truncated = not terminated and self._steps >= self.task.episode_steps
        reward, observation = self.task.reward(self._state, driven.applied, self._episode), self.task.observe(self._state, self._episode)
        if truncated:
            self._release()
        return observation, reward, terminated, truncated, self._info()

    def _release(self) -> None:
        """Leaves the arm alone for as long as the task says; what is not at the goal then is no success."""
        for _ in range(self.task.release_steps):
            self._apply(self._drive.release(self._state))
        if not self.task.is_reached(self._state, self._episode):
            self._streak = 0

    def _apply(self, command: Vector) -> None:
        """One control period."""
        self._sim.command(self.task.spec.command_mode, command, 1.0 / self.task.spec.control_rate_hz)
        self._sim.advance(self._period)
        self._state = self._measure()

    def render(self) -> npt.NDArray[np.uint8] | None:  # type: ignore[override]
        """A picture (480, 640, 3) of the scene, if made with render_mode="rgb_array"."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self._sim.model, height=480, width=640)
        mujoco.mj_kinematics(self._sim.model, self._sim.data)
        self._renderer.update_scene(self._sim.data, camera="overview")
        return self._renderer.render()

    def close(self) -> None:
        """Frees the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _measure(self) -> RobotState:
        measured = self._sim.measure()
        return self._arm.state(measured.stamp_ns, measured.position, measured.velocity, measured.effort)

    def _info(self) -> dict[str, Any]:
        return {"is_success": self._streak >= self.task.hold_steps, "distance": self.task.distance(self._state, self._episode)}
