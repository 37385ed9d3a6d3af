"""A control step gone through ahead of time, so that the one that counts finds its code and data in the processor's caches."""

from __future__ import annotations

import math
import time

import numpy as np

from sql_ros.core.policy import Policy
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.drive import Drive
from sql_ros.robot.task import Task

MOST_BUSY = 0.85  # of a core: of one that SCHED_FIFO threads use by 95 % of a second, Linux takes 50 ms away (sched_rt_runtime_us)
WATCHED_S = 0.1  # so often that is looked at


class Rehearsal:
    """Goes through the parts of a step on doubles of all that has a memory: what is sent afterwards is the same with and without it.

    A step that follows a pause takes twice as long as one that follows another step (docs/safety.md, on time).

    Args:
        task: what is done. A second filter is built for it, which takes a moment.
        ahead_s: how long before a state is due it begins, and how long after that it ends where none comes [s].

    Attributes:
        parts: gone through so far.
    """

    def __init__(self, task: Task, ahead_s: float) -> None:
        self._task, self._arm, self._drive = task, Arm(task.robot), Drive(task)
        self._rng = np.random.default_rng(0)
        self._episode = task.begin(self._rng)
        self._action = np.zeros(task.spec.action_size, np.float32)
        self._ahead_s = ahead_s
        self._due, self._pauses = 0.0, False  # when the next state is, and whether nothing is to be done for a while before
        self._since, self._used, self._is_busy = -math.inf, 0.0, False  # steady time and time of the processor when that was looked at
        self.parts = 0

    def wait_s(self, now: float, due: float) -> float:
        """How long nothing is to be rehearsed [s]; 0: `go_on`; infinite: not before the next state.

        Only after a pause: where one step follows the other everything is at hand, and what is left of the core is for other threads. Nor
        where the process lately used most of a core.

        Args:
            now: steady time [s].
            due: when the next state is [s].
        """
        early = due - self._ahead_s - now
        if due != self._due:
            self._due, self._pauses = due, early > 0.0 and not self._uses_a_core(now)
        return max(early, 0.0) if self._pauses and early >= -2.0 * self._ahead_s else math.inf

    def _uses_a_core(self, now: float) -> bool:
        elapsed = now - self._since
        if elapsed >= WATCHED_S:
            used = time.process_time()
            self._is_busy = used - self._used > MOST_BUSY * elapsed
            self._since, self._used = now, used
        return self._is_busy

    def go_on(self, policy: Policy | None, state: RobotState) -> None:
        """The next part, a small one: after it somebody may look whether the state has come that is waited for.

        Args:
            policy: that acts; None: no part is its.
            state: the last one of the arm.
        """
        self.parts += 1
        which = self.parts % 4
        if which == 0:
            self._drive.safety.forget()  # the state is the same as before, not one period after it
            self._drive.act(self._action, state)
        elif which == 2:
            self._arm.state(state.stamp_ns, state.position, state.velocity, state.effort)
            self._task.reward(state, self._action, self._episode)
            self._task.is_terminated(state, self._episode)
            self._task.is_reached(state, self._episode)
        elif policy is not None:
            self._action = policy.sample(self._task.observe(state, self._episode), self._rng)
