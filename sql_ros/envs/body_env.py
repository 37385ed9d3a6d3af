"""The base of snake, pusher and quadruped: a MuJoCo body that is moved by motors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt

from sql_ros.common.data_files import find_file

Vector = npt.NDArray[np.float32]

WALL_HEIGHT = 0.6  # [m]


class BodyEnv(gymnasium.Env[Vector, Vector]):
    """A body whose action (A,) in [-1, 1] is the share of each motor's largest control value.

    Subclasses define the observation, the first state of an episode, and the reward. The
    environment never truncates an episode.

    Args:
        world: Name of an MJCF file in sim/worlds/, without its suffix.
        physics_steps: Physics steps per control step.
        render_mode: "rgb_array" for pictures (240, 320, 3) by the camera "overview"; None: no
            pictures.
        walls: Rectangles (x0, y0, x1, y1) that are added to the world as walls [m].

    Attributes:
        model: The MuJoCo model.
        data: State of the simulation.
        dt: Time of a control step [s].
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self,
        world: str,
        physics_steps: int,
        render_mode: str | None = None,
        walls: Sequence[tuple[float, float, float, float]] = (),
    ) -> None:
        spec = mujoco.MjSpec.from_file(str(find_file(world, "sim/worlds", ".xml")))
        for x0, y0, x1, y1 in walls:
            size, middle = (
                [(x1 - x0) / 2, (y1 - y0) / 2, WALL_HEIGHT / 2],
                [(x0 + x1) / 2, (y0 + y1) / 2, WALL_HEIGHT / 2],
            )
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=size,
                pos=middle,
                rgba=[0.5, 0.55, 0.6, 1.0],
                contype=1,
                conaffinity=0,
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
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, self.observe().shape, np.float32
        )

    def observe(self) -> Vector:
        """Return the observation (S,)."""
        raise NotImplementedError

    def set_start(self) -> None:
        """Draw the first state of an episode from `np_random`, and set it in `data`.

        All positions and speeds in `data` are 0 before.
        """
        raise NotImplementedError

    def outcome(self, action: npt.NDArray[np.float64]) -> tuple[float, bool, dict[str, Any]]:
        """Compute the outcome of the control step that has been simulated.

        Args:
            action: Action of the step (A,), clipped to [-1, 1].

        Returns:
            The reward, whether the episode terminates, and the info.
        """
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of the first state; None: the generator of earlier episodes goes on.
            options: Not used.

        Returns:
            Observation (S,) and an empty info.
        """
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.set_start()
        mujoco.mj_forward(self.model, self.data)
        return self.observe(), {}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Simulate one control step.

        Args:
            action: Action (A,), clipped to [-1, 1].

        Returns:
            Observation (S,), reward, terminated, truncated (always False), and info.
        """
        share = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        self.data.ctrl[:] = share * self.model.actuator_ctrlrange[:, 1]
        mujoco.mj_step(self.model, self.data, self._physics_steps)
        # mj_step leaves the places of bodies as they were before its last step
        mujoco.mj_kinematics(self.model, self.data)
        reward, terminated, info = self.outcome(share)
        return self.observe(), reward, terminated, False, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture (240, 320, 3); None without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, 240, 320)
        self._renderer.update_scene(self.data, camera="overview")
        picture: npt.NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the renderer, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
