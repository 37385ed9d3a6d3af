"""A body in MuJoCo that moves by its motors: what snake, pusher and quadruped share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.share import find_file

Vector = npt.NDArray[np.float32]

WALL_HEIGHT = 0.6  # [m]


class BodyEnv(gymnasium.Env[Vector, Vector]):
    """Actions (A,) in [-1, 1] are the share of each motor's range; subclasses say what is observed and what is rewarded.

    Args:
        world: MJCF in sim/worlds/.
        physics_steps: per control step.
        render_mode: None, or "rgb_array" for pictures by the camera "overview".
        walls: to be built in it, rectangles (x0, y0, x1, y1) [m].
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (gymnasium: of the class and of each)

    def __init__(
        self,
        world: str,
        physics_steps: int,
        render_mode: str | None = None,
        walls: Sequence[tuple[float, float, float, float]] = (),
    ) -> None:
        spec = mujoco.MjSpec.from_file(str(find_file(world, "sim/worlds", ".xml")))
        for x0, y0, x1, y1 in walls:
            size, middle = [(x1 - x0) / 2, (y1 - y0) / 2, WALL_HEIGHT / 2], [(x0 + x1) / 2, (y0 + y1) / 2, WALL_HEIGHT / 2]
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, size=size, pos=middle, rgba=[0.5, 0.55, 0.6, 1.0], contype=1, conaffinity=0
            )
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.render_mode = render_mode
        self.dt = physics_steps * self.model.opt.timestep
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.dt)}
        self._physics_steps = physics_steps
        self._renderer: mujoco.Renderer | None = None
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.model.nu,), np.float32)
        mujoco.mj_forward(self.model, self.data)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, self.observe().shape, np.float32)

    def observe(self) -> Vector:
        """What the policy sees, (S,)."""
        raise NotImplementedError

    def place(self) -> None:
        """Sets the first state of an episode in `data`, which is all zero, drawn from `np_random`."""
        raise NotImplementedError

    def judge(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Reward, whether the episode terminates, and info, after a control step."""
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Begins an episode; no options."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.place()
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), {}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """One control step."""
        share = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self.data.ctrl[:] = share * self.model.actuator_ctrlrange[:, 1]
        mujoco.mj_step(self.model, self.data, self._physics_steps)
        mujoco.mj_kinematics(self.model, self.data)  # mj_step leaves the bodies where they were before its last step
        reward, terminated, info = self.judge(share)
        return self.observe(), reward, terminated, False, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """A picture (240, 320, 3), if made with render_mode="rgb_array"."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, 240, 320)
        self._renderer.update_scene(self.data, camera="overview")
        picture: npt.NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Frees the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
