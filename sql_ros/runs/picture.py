"""A picture of the arm at its task.

MuJoCo renders it. If MuJoCo cannot render, Matplotlib draws the path of the tool.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.common.plotting import pyplot, save_figure
from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.episode_actor import Actor
from sql_ros.robot.task import Task
from sql_ros.runs.rollout import SimulatedArm

SIZE = (720, 960)  # height, width [px]
BEAD_M = 0.006  # radius of the beads of the path
HALO_M = 0.06  # radius of the halo at the goal
HALO_COLOUR = (0.2, 0.9, 0.3, 0.35)


def draw_arm(task: Task, policy: Policy | None, path: Path, seed: int) -> str:
    """Save a picture of the arm near the end of an episode, with the goal and the tool's path.

    Of 20 drawn episodes the one whose goal is farthest to the side (y) is simulated.

    Args:
        task: The task.
        policy: Policy that acts in its deterministic mode; None: the arm rests at its start pose.
        path: PNG file to write.
        seed: Seed of the episodes.

    Returns:
        "rendered" (by MuJoCo); or "drawn, since ..." with the reason why MuJoCo could not render:
        then the file shows the tool's path and the goal alone, drawn by Matplotlib.

    Raises:
        ImportError: Matplotlib cannot be used.
    """
    plt = pyplot()
    arm = SimulatedArm(task)
    episode = max(
        (task.begin(np.random.default_rng([seed, i])) for i in range(20)),
        key=lambda e: float(abs(e.target[1])),
    )
    actor = Actor(task, seed, deterministic=True, explores=False)
    actor.policy = policy
    arm.begin(actor, episode)
    trace = [arm.state().tool_position]
    for _ in range(task.episode_steps - 1 if policy is not None else 0):
        arm.follow(actor)
        trace.append(arm.state().tool_position)
    arm.sim.place("goal", episode.target)
    points = np.array(trace)
    try:
        plt.imsave(path, render(arm, points, episode.target))
        return "rendered"
    # a graphics driver may raise any error; the report is written without the rendering
    except Exception as error:
        _draw_path(points, episode.target, path)
        return (
            f"drawn, since MuJoCo could not render here ({error!r}); `sql-ros doctor` says what to"
            " install"
        )


def render(
    arm: SimulatedArm, trace: npt.NDArray[np.float64], goal: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Render the camera "overview" with the path of the tool as beads, and a halo at the goal.

    The halo is larger than the hand, because the hand hides a goal that it has reached.

    Args:
        arm: The simulated arm, in the state that is rendered.
        trace: Positions of the tool (T, 3), from the first (blue) to the last (red) [m].
        goal: Position of the goal (3,) [m].

    Returns:
        RGB picture (H, W, 3), uint8, of `SIZE`.
    """
    import mujoco

    mujoco.mj_forward(arm.sim.model, arm.sim.data)
    with mujoco.Renderer(arm.sim.model, *SIZE) as renderer:
        renderer.update_scene(arm.sim.data, camera="overview")
        for fraction, point in zip(np.linspace(0, 1, len(trace)), trace):
            colour = (0.1 + 0.8 * fraction, 0.45, 0.9 - 0.7 * fraction, 0.9)  # from blue to red
            _add_sphere(mujoco, renderer.scene, point, BEAD_M, colour)
        _add_sphere(mujoco, renderer.scene, goal, HALO_M, HALO_COLOUR)
        return np.array(renderer.render())


def _add_sphere(
    mujoco: Any,
    scene: Any,
    point: npt.NDArray[np.float64],
    radius_m: float,
    colour: tuple[float, float, float, float],
) -> None:
    """Add a sphere to a scene; do nothing if the scene is full.

    Args:
        mujoco: The module `mujoco`, imported by the caller.
        scene: Scene of the renderer.
        point: Centre of the sphere (3,) [m].
        radius_m: Radius of the sphere [m].
        colour: Red, green, blue and opacity, from 0 to 1.
    """
    if scene.ngeom >= scene.maxgeom:
        return
    geom = scene.geoms[scene.ngeom]
    mujoco.mjv_initGeom(
        geom,
        mujoco.mjtGeom.mjGEOM_SPHERE,
        np.full(3, radius_m),
        point,
        np.eye(3).ravel(),
        np.array(colour, np.float32),
    )
    scene.ngeom += 1


def _draw_path(
    points: npt.NDArray[np.float64], target: npt.NDArray[np.float64], path: Path
) -> None:
    """Draw the path of the tool and the goal with Matplotlib.

    Args:
        points: Positions of the tool (T, 3) [m].
        target: Position of the goal (3,) [m].
        path: PNG file to write.
    """
    plt = pyplot()
    figure = plt.figure(figsize=(6, 5))
    axes = figure.add_subplot(projection="3d")
    axes.plot(*points.T, label="tool")
    axes.scatter(*target, color="green", label="goal")
    axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
    axes.legend()
    save_figure(figure, path)
