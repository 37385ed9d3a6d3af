"""Run a control step ahead of time, so that the real step finds its code and data in the
processor's caches.
"""

from __future__ import annotations

import math
import time

import numpy as np

from sql_ros.policy.blend import Blend
from sql_ros.policy.runtime import Policy
from sql_ros.robot.arm import Arm, RobotState
from sql_ros.robot.control.action_mapper import ActionMapper
from sql_ros.robot.task import Task

# largest share of a core that the process may use for rehearsals: Linux stops SCHED_FIFO threads
# that used a core for 95 % of a second for the remaining 50 ms (sched_rt_runtime_us)
MOST_BUSY = 0.85
WATCHED_S = 0.1  # shortest time over which the share is measured
STAGES = 4  # number of stages of a rehearsal


class CacheWarmer:
    """Run the stages of a control step on copies of all stateful objects, to warm the caches.

    The commands that are sent are the same with and without rehearsals. A step that follows a pause
    takes twice as long as one that directly follows another step (docs/timing.md).

    Args:
        task: The task of the control steps. A second safety filter is built for it, which takes a
            moment.
        ahead_s: Rehearsals begin this long before a state is due, and end at the latest this long
            after the state was due [s].
        lateness_s: Lateness of commands that the second safety filter assumes [s], see
            `ActionMapper`.

    Attributes:
        parts: Number of stages that were run so far, over all steps.
    """

    def __init__(self, task: Task, ahead_s: float, lateness_s: float = 0.0) -> None:
        self._task = task
        self._arm = Arm(task.robot)
        self._mapper = ActionMapper(task, lateness_s)
        self._rng = np.random.default_rng(0)
        self._episode = task.begin(self._rng)
        self._action = np.zeros(task.spec.action_size, np.float32)
        self._ahead_s = ahead_s
        self._due = 0.0  # steady time at which the next state is due [s]
        self._pauses = False  # there is a pause before the next state is due
        self._measured_at = -math.inf  # steady time of the last measurement of the core [s]
        self._used_s = 0.0  # processor time of the process at the last measurement [s]
        self._is_busy = False  # the process used most of a core before the last measurement
        self.parts = 0

    def wait_s(self, now: float, due: float) -> float:
        """Return how long to wait before the next call of `run_stage` [s].

        Stages are run after a pause only. Where one step directly follows the other, the caches are
        warm, and other threads need the rest of the core. No stages are run either where this
        process lately used more than `MOST_BUSY` of a core.

        Args:
            now: Steady time [s].
            due: Steady time at which the next state is due [s].

        Returns:
            0: run a stage now. Infinite: run none before the next state; also if the state is late
            by more than `ahead_s`. Other values: wait for so long, then run a stage.
        """
        early_s = due - self._ahead_s - now
        if due != self._due:
            self._due = due
            self._pauses = early_s > 0.0 and not self._uses_a_core(now)
        if not self._pauses or early_s < -2.0 * self._ahead_s:
            return math.inf
        return max(early_s, 0.0)

    def _uses_a_core(self, now: float) -> bool:
        """Return whether this process lately used more than `MOST_BUSY` of a core.

        The share is measured again when the last measurement is at least `WATCHED_S` old.

        Args:
            now: Steady time [s].
        """
        elapsed_s = now - self._measured_at
        if elapsed_s >= WATCHED_S:
            used_s = time.process_time()
            self._is_busy = used_s - self._used_s > MOST_BUSY * elapsed_s
            self._measured_at = now
            self._used_s = used_s
        return self._is_busy

    def run_stage(self, policy: Policy | Blend | None, state: RobotState) -> None:
        """Run the next stage, and count it in `parts`. A cycle is: policy, reward, policy, safety
        filter.

        The stage of the policy samples an action. The stage of the reward computes the pose of the
        tool, the reward, and whether the episode is terminated or its goal reached. The stage of
        the safety filter filters the action sampled last. A stage is short, so that the caller can
        check in between whether the state has arrived. Nothing is sent, and no object of the real
        control step changes.

        Args:
            policy: The acting policy; None: its two stages do nothing.
            state: The last state of the arm.
        """
        self.parts += 1
        stage = self.parts % STAGES
        if stage == 0:
            # the state may be the same as in the last rehearsal; the filter would take it for the
            # state one period later
            self._mapper.safety.forget()
            self._mapper.act(self._action, state)
        elif stage == 2:
            self._arm.state(state.stamp_ns, state.position, state.velocity, state.effort)
            self._task.transition_reward(state, self._action, self._episode)
            self._task.is_terminated(state, self._episode)
            self._task.is_reached(state, self._episode)
        elif policy is not None:
            self._action = policy.sample(self._task.observe(state, self._episode), self._rng)
