"""A picture of the arm doing the task, rendered by MuJoCo; where nothing can render, a drawing of the tool's path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sql_ros.core.policy import Policy
from sql_ros.robot.actor import Actor
from sql_ros.robot.task import Task
from sql_ros.runs.plots import pyplot
from sql_ros.runs.rollout import SimulatedArm

SIZE = (720, 960)  # height, width


def draw_arm(task: Task, policy: Policy | None, path: Path, seed: int) -> str:
    """Saves the arm at the end of one episode (of 20 the one with the goal farthest aside), its goal and the path its tool took.

    Args:
        task: the task.
        policy: acts; None: the arm rests at its start pose.
        path: of the PNG.
        seed: of the episode.

    Returns:
        How it was made: "rendered", or "drawn" with the reason why nothing could be rendered.
    """
    plt = pyplot()
    arm = SimulatedArm(task)
    episode = max((task.begin(np.random.default_rng([seed, i])) for i in range(20)), key=lambda e: float(abs(e.target[1])))
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
        plt.imsave(path, render(arm, points))
        return "rendered"
    except Exception as error:  # whatever the graphics driver throws; a picture is no reason to lose a run's report
        _draw_path(points, episode.target, path)
        return f"drawn, since MuJoCo could not render here ({error!r}); `sql-ros doctor` says what to install"


def render(arm: SimulatedArm, trace: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The scene as seen by its camera "overview", with the path of the tool, (T, 3), as beads: (H, W, 3)."""
    import mujoco

    mujoco.mj_forward(arm.sim.model, arm.sim.data)
    with mujoco.Renderer(arm.sim.model, *SIZE) as renderer:
        renderer.update_scene(arm.sim.data, camera="overview")
        for fraction, point in zip(np.linspace(0, 1, len(trace)), trace):
            _add_bead(mujoco, renderer.scene, point, fraction)
        return np.array(renderer.render())


def _add_bead(mujoco: Any, scene: Any, point: npt.NDArray[np.float64], fraction: float) -> None:
    if scene.ngeom >= scene.maxgeom:
        return
    colour = np.array([0.1 + 0.8 * fraction, 0.45, 0.9 - 0.7 * fraction, 0.9], np.float32)
    geom = scene.geoms[scene.ngeom]
    mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 0.006), point, np.eye(3).ravel(), colour)
    scene.ngeom += 1


def _draw_path(points: npt.NDArray[np.float64], target: npt.NDArray[np.float64], path: Path) -> None:
    plt = pyplot()
    figure = plt.figure(figsize=(6, 5))
    axes = figure.add_subplot(projection="3d")
    axes.plot(*points.T, label="tool")
    axes.scatter(*target, color="green", label="goal")
    axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
