"""A trained arm at work and pushed, as a clip and a film strip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from sql_ros.core.policy import Policy
from sql_ros.robot.drive import Drive
from sql_ros.robot.task import Task
from sql_ros.robot.trials import ProtocolConfig, Row, Session, TrialActor
from sql_ros.runs.rollout import SimulatedArm

HEIGHT, WIDTH = 300, 400  # of each of the two views
EVERY = 3  # control steps per frame
AFTER_S = 4.5  # of the push that are filmed
SAMPLES, SHADOWS = 4, 1024  # of the pictures: without a graphics card each costs time
STRIP = 5  # pictures of the strip
ARROW_M_N = 0.004  # length of a push's arrow


def film(task: Task, policy: Policy, folder: Path, *, seed: int, push_n: float, at_s: float, body: str) -> tuple[Row, list[Path]]:
    """One episode with one push, filmed by the cameras "overview" and "close".

    Args:
        task: of the policy.
        policy: acts, in its deterministic mode.
        folder: for clip.gif and strip.png.
        seed: of start pose, target and direction.
        push_n: force of the push [N].
        at_s: its time in the episode [s].
        body: that is pushed.

    Returns:
        What the trial gave, and the files; none where MuJoCo cannot render here.
    """
    protocol = ProtocolConfig(repeats=1, undisturbed=(), push_n=(push_n,), push_bodies=(body,), at_s=(at_s, at_s))
    drive, arm = Drive(task), SimulatedArm(task)
    session = Session(task, drive, protocol, seed, policy.info.sha256)
    actor = TrialActor(task, policy, session, drive=drive)
    try:
        cameras: _Cameras | None = _Cameras(arm.sim.model)
    except Exception as error:  # whatever the graphics driver throws; the arm stacks without being seen
        print(f"no clip: MuJoCo cannot render here ({error!r}); `sql-ros doctor` says what to install", flush=True)
        cameras = None
    frames: list[Image.Image] = []

    def show(step: int, force: Any) -> None:
        if cameras is None or step % EVERY or step > (at_s + AFTER_S) * task.config.control_rate_hz:
            return
        state = arm.state()
        away = 1e3 * task.distance(state, actor.episode)
        words = "seated" if task.is_reached(state, actor.episode) else f"{away:.0f} mm away"
        frames.append(cameras.picture(arm.sim.data, body, force, f"{step / task.config.control_rate_hz:4.1f} s   {words}"))

    row = arm.try_once(actor, show)
    assert row is not None
    if cameras is None:
        return row, []
    cameras.close()
    rate = task.config.control_rate_hz / EVERY
    marks = [0.0, 0.4 * at_s, at_s + 0.25, at_s + 0.8, at_s + AFTER_S - 0.2]
    return row, _save(frames, [frames[min(round(mark * rate), len(frames) - 1)] for mark in marks[:STRIP]], folder, rate)


def _save(frames: list[Image.Image], chosen: list[Image.Image], folder: Path, rate_hz: float) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    clip, strip = folder / "clip.gif", folder / "strip.png"
    small = [frame.quantize(64) for frame in frames]
    small[0].save(clip, save_all=True, append_images=small[1:], duration=round(1000 / rate_hz), loop=0, optimize=True)
    sheet = Image.new("RGB", (chosen[0].width, sum(frame.height for frame in chosen)))
    for index, frame in enumerate(chosen):
        sheet.paste(frame, (0, index * frame.height))
    sheet.save(strip)
    return [clip, strip]


class _Cameras:
    """Two views side by side, a push as an arrow, a line of text."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        model.vis.quality.offsamples, model.vis.quality.shadowsize = SAMPLES, SHADOWS
        self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)

    def picture(self, data: mujoco.MjData, body: str, force: Any, text: str) -> Image.Image:
        views = []
        mujoco.mj_camlight(self._model, data)
        for camera in ("overview", "close"):
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
        scene = self._renderer.scene
        geom = scene.geoms[scene.ngeom]
        mujoco.mjv_initGeom(geom, mujoco.mjtGeom.mjGEOM_ARROW, np.zeros(3), np.zeros(3), np.eye(3).ravel(), np.array([0.9, 0.2, 0.1, 1], np.float32))
        mujoco.mjv_connector(geom, mujoco.mjtGeom.mjGEOM_ARROW, 0.012, point - ARROW_M_N * force, point)
        scene.ngeom += 1

    def close(self) -> None:
        self._renderer.close()
