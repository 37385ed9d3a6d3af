"""Ask for the objects of an episode to be placed, and verify where they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sql_ros.robot.arm import RobotState
from sql_ros.robot.objects import Objects, ObjectsConfig
from sql_ros.robot.task import Episode


class ObjectPlacement:
    """Decides whether the objects of an episode are where the episode begins with them.

    Args:
        config: Objects of the task; None: it has none.
        period_s: Control period [s].

    Attributes:
        request: Called with the poses in which the objects are to be placed, and whether this
            repeats a request that was not fulfilled in time. By default it does nothing.
        waiting: What is waited for, in words; empty if nothing is.
    """

    def __init__(self, config: ObjectsConfig | None, period_s: float) -> None:
        self._tolerance_m = config.place_tolerance_m if config else 0.0
        self._timeout_steps = round(config.place_timeout_s / period_s) if config else 0
        self.request: Callable[[Objects, bool], None] = _ignore
        self.forget()

    def forget(self) -> None:
        """Require a new request: the objects may have moved."""
        self.waiting = ""
        self._steps = 0  # control steps since the last request
        self._is_requested = False

    def assume_requested(self) -> None:
        """Make no request for the present episode: the caller has placed its objects."""
        self.forget()
        self._is_requested = True

    def is_done(self, episode: Episode, state: RobotState) -> bool:
        """Return whether the objects are seen within the tolerance of their places. The first call
        for an episode makes the request, and a call after the time-out makes it again.

        Args:
            episode: The episode that is to begin. Without objects the answer is True.
            state: State of the arm now, with the observed objects.
        """
        if not episode.objects:
            return True
        if not self._is_requested:
            self._make_request(episode, repeats=False)
            return False
        away = {
            name: float(np.linalg.norm(state.objects[name].position - pose.position))
            for name, pose in episode.objects.items()
        }
        far = [f"{name} ({m:.3f} m away)" for name, m in away.items() if m > self._tolerance_m]
        if not far:
            self.forget()
            return True
        self.waiting = f"waiting for {', '.join(far)} to be placed"
        self._steps += 1
        if self._steps >= self._timeout_steps:
            self._make_request(episode, repeats=True)
        return False

    def _make_request(self, episode: Episode, *, repeats: bool) -> None:
        """Request that the objects of an episode are placed, and restart the time-out."""
        self._is_requested = True
        self._steps = 0
        self.request(episode.objects, repeats)


def _ignore(objects: Objects, repeats: bool) -> None:
    """Drop a request: nothing places objects."""
