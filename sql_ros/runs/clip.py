"""A clip and a film strip of a trained arm that is pushed while it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from sql_ros.policy.runtime import Policy
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.task import Task
from sql_ros.runs.rollout import SimulatedArm
from sql_ros.trials.protocol import ProtocolConfig
from sql_ros.trials.session import Session
from sql_ros.trials.trial import TrialResult
from sql_ros.trials.trial_runner import TrialRunner

HEIGHT = 300  # of each of the two views [px]
VIEWS = ("overview", "close")  # cameras of a scene, from left to right
FREE_CAMERA = -1
WIDTH = 400  # of each of the two views [px]
STEPS_PER_FRAME = 3  # control steps
AFTER_S = 4.5  # time filmed after the push [s]
SAMPLES = 4  # per pixel; without a graphics card each sample costs time
SHADOWS = 1024  # size of the shadow map [px]
ARROW_M_N = 0.004  # length of the arrow per force of the push [m/N]


def film(
    task: Task, policy: Policy, folder: Path, *, seed: int, push_n: float, at_s: float, body: str
) -> tuple[TrialResult, list[Path]]:
    """Run one simulated episode with one push, filmed by the cameras "overview" and "close".

    The film begins with the episode and ends `AFTER_S` after the push. The strip has five of its
    pictures, from the start to the end.

    Args:
        task: The task of the policy.
        policy: Policy that acts in its deterministic mode.
        folder: Folder for clip.gif and strip.png, made if it does not exist.
        seed: Seed of start pose, target and direction of the push.
        push_n: Force of the push [N].
        at_s: Time of the push in the episode [s].
        body: Name of the pushed body.

    Returns:
        The result of the trial, and the paths of the files. There are no files if MuJoCo cannot
        render here; the reason is printed.
    """
    protocol = ProtocolConfig(
        repeats=1, undisturbed=(), push_n=(push_n,), push_bodies=(body,), at_s=(at_s, at_s)
    )
    mapper = ActionMapper(task)
    arm = SimulatedArm(task)
    session = Session(task, mapper, protocol, seed, policy.info.sha256)
    runner = TrialRunner(task, policy, session, mapper=mapper)
    try:
        cameras: _Cameras | None = _Cameras(arm.sim.model)
    # a graphics driver may raise any error; the arm acts without a clip
    except Exception as error:
        print(
            f"no clip: MuJoCo cannot render here ({error!r}); `sql-ros doctor` says what to"
            " install",
            flush=True,
        )
        cameras = None
    frames: list[Image.Image] = []

    def show(step: int, force: Any) -> None:
        """Add a frame of a control step, if one is due, with the time and the distance to the goal.

        Every control step number `STEPS_PER_FRAME` is due, until `AFTER_S` after the push.

        Args:
            step: Number of the control step in the episode.
            force: Force of the push (3,) [N].
        """
        if (
            cameras is None
            or step % STEPS_PER_FRAME
            or step > (at_s + AFTER_S) * task.config.control_rate_hz
        ):
            return
        state = arm.state()
        away = 1e3 * task.distance(state, runner.actor.episode)
        words = (
            "at the goal" if task.is_reached(state, runner.actor.episode) else f"{away:.0f} mm away"
        )
        frames.append(
            cameras.picture(
                arm.sim.data, body, force, f"{step / task.config.control_rate_hz:4.1f} s   {words}"
            )
        )

    row = arm.try_once(runner, show)
    assert row is not None
    if cameras is None:
        return row, []
    cameras.close()
    rate = task.config.control_rate_hz / STEPS_PER_FRAME
    marks = [0.0, 0.4 * at_s, at_s + 0.25, at_s + 0.8, at_s + AFTER_S - 0.2]
    return row, _save(
        frames,
        [frames[min(round(mark * rate), len(frames) - 1)] for mark in marks],
        folder,
        rate,
    )


def _save(
    frames: list[Image.Image], chosen: list[Image.Image], folder: Path, rate_hz: float
) -> list[Path]:
    """Write all frames as an animated GIF and the chosen ones as a strip.

    Args:
        frames: All frames in order.
        chosen: Frames of the strip, from top to bottom.
        folder: Folder of the files, made if it does not exist.
        rate_hz: Frames per second.

    Returns:
        The paths of clip.gif and strip.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clip = folder / "clip.gif"
    strip = folder / "strip.png"
    small = [frame.quantize(64) for frame in frames]
    small[0].save(
        clip,
        save_all=True,
        append_images=small[1:],
        duration=round(1000 / rate_hz),
        loop=0,
        optimize=True,
    )
    sheet = Image.new("RGB", (chosen[0].width, sum(frame.height for frame in chosen)))
    for index, frame in enumerate(chosen):
        sheet.paste(frame, (0, index * frame.height))
    sheet.save(strip)
    return [clip, strip]


class _Cameras:
    """Renders the cameras "overview" and "close" of a scene side by side, with an arrow for a push
    and a line of text. A camera that the scene does not have is left out; without both, MuJoCo's
    free camera renders.

    Args:
        model: The MuJoCo model, whose quality of rendering is changed.

    Raises:
        Exception: MuJoCo cannot render here; a graphics driver may raise any error.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        model.vis.quality.offsamples = SAMPLES
        model.vis.quality.shadowsize = SHADOWS
        self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)
        there = [model.camera(camera).name for camera in range(model.ncam)]
        self._cameras: list[str | int] = [name for name in VIEWS if name in there]
        self._cameras = self._cameras or [FREE_CAMERA]

    def picture(self, data: mujoco.MjData, body: str, force: Any, text: str) -> Image.Image:
        """Render the scene by every camera.

        Args:
            data: State of the simulation.
            body: Name of the pushed body.
            force: Force of the push (3,) [N]; zero: there is no arrow.
            text: Text above the picture, to which the size of the force is added.

        Returns:
            The picture, `HEIGHT` high and `WIDTH` wide for each camera.
        """
        views = []
        mujoco.mj_camlight(self._model, data)
        for camera in self._cameras:
            self._renderer.update_scene(data, camera=camera)
            if np.any(force):
                self._arrow(data.xpos[self._model.body(body).id], np.asarray(force))
            views.append(self._renderer.render().copy())
        image = Image.fromarray(np.concatenate(views, axis=1))
        draw = ImageDraw.Draw(image)
        label = f"{text}   pushed with {np.linalg.norm(force):.0f} N" if np.any(force) else text
        draw.rectangle((0, 0, image.width, 17), fill=(20, 24, 32))
        draw.text((6, 3), label, fill=(255, 255, 255))
        return image

    def _arrow(self, point: Any, force: Any) -> None:
        """Add an arrow to the scene of the renderer, which ends at the pushed point.

        Args:
            point: The pushed point (3,) [m].
            force: Force of the push (3,) [N].
        """
        scene = self._renderer.scene
        geom = scene.geoms[scene.ngeom]
        mujoco.mjv_initGeom(
            geom,
            mujoco.mjtGeom.mjGEOM_ARROW,
            np.zeros(3),
            np.zeros(3),
            np.eye(3).ravel(),
            np.array([0.9, 0.2, 0.1, 1], np.float32),
        )
        mujoco.mjv_connector(
            geom, mujoco.mjtGeom.mjGEOM_ARROW, 0.012, point - ARROW_M_N * force, point
        )
        scene.ngeom += 1

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
