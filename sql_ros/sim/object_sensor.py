"""A simulated source of object poses: noise, delay and lost messages."""

from __future__ import annotations

from collections import deque

import mujoco
import numpy as np

from sql_ros.robot.objects import (
    NO_OBJECTS,
    ObjectPose,
    Objects,
    ObjectsConfig,
    pose_from_quaternion,
    quaternion_of,
)
from sql_ros.sim.simulation import Simulation


class ObjectSensor:
    """Measures the objects of a simulation as a camera would.

    Args:
        sim: The simulation, with the objects of the task.
        config: Objects of the task, with noise, delay and share of lost messages; None: the task
            observes none, and nothing is drawn.
        rate_hz: Measurements per simulated second [Hz].
        rng: Generator of the draws, which each measurement advances.
    """

    def __init__(
        self,
        sim: Simulation,
        config: ObjectsConfig | None,
        rate_hz: float,
        rng: np.random.Generator,
    ) -> None:
        self._sim = sim
        self._config = config
        self._delay = round(config.delay_s * rate_hz) if config else 0  # in measurements
        self._on_the_way: deque[Objects] = deque()
        self.restart(rng)

    def restart(self, rng: np.random.Generator | None = None) -> None:
        """Drop the poses on their way, as at a reset of the simulation.

        Args:
            rng: New generator; None: the present one goes on.
        """
        self._on_the_way.clear()
        self._seen: Objects = NO_OBJECTS  # last pose of each object that arrived
        self._measured_ns = -1  # simulated time of the last measurement [ns]
        if rng is not None:
            self._rng = rng

    def measure(self) -> Objects:
        """Measure the objects now, and return the poses that arrive now.

        Returns:
            The poses of `delay_s` ago with noise, by name, without those that are lost. Soon after
            `restart` they are the first that were measured, and the very first are not lost.
        """
        config = self._config
        if config is None:
            return NO_OBJECTS
        self._measured_ns = self._sim.time_ns
        true = self._sim.object_poses()
        self._on_the_way.append({name: self._disturbed(config, true[name]) for name in true})
        if len(self._on_the_way) > self._delay + 1:
            self._on_the_way.popleft()
        arriving = self._on_the_way[0]
        if config.lost_share and self._seen:
            kept = {name for name in arriving if self._rng.uniform() >= config.lost_share}
            arriving = {name: arriving[name] for name in arriving if name in kept}
        self._seen = {**self._seen, **arriving}
        return arriving

    def observe(self) -> Objects:
        """Return the last pose of each object that arrived, after a measurement if the simulated
        time has advanced since the last one.
        """
        if self._sim.time_ns != self._measured_ns:
            self.measure()
        return self._seen

    def _disturbed(self, config: ObjectsConfig, pose: ObjectPose) -> ObjectPose:
        """Return a pose with drawn errors of position and rotation."""
        position = pose.position + config.noise_m * self._rng.standard_normal(3)
        quaternion = quaternion_of(pose)
        turn = config.noise_rad * self._rng.standard_normal(3)
        mujoco.mju_quatIntegrate(quaternion, turn, 1.0)
        return pose_from_quaternion(position, quaternion)
