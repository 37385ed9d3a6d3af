"""Turn velocities of the tool into joint velocities, by damped least squares."""

from __future__ import annotations

import numpy as np

from sql_ros.robot.action_space import TwistConfig
from sql_ros.robot.arm import Arm, RobotState, Vector
from sql_ros.robot.config import RobotConfig

# Singular value of the Jacobian below which the motion is damped [m/rad]. A tool speed x in such a
# direction asks for x / NEAR_SINGULAR rad/s at most.
NEAR_SINGULAR = 0.08
# the joints drift to the neutral pose, as far as the tool does not move by that
NEUTRAL_PER_S = 0.5  # speed per distance to the neutral pose [1/s]
NEUTRAL_SHARE = 0.1  # largest speed of the drift, as a share of the velocity limit


class TwistSolver:
    """Damped least squares of one arm: joint velocities for a velocity of the tool.

    With the Jacobian J = U S V^T they are v = J* x + (1 - J* J) n, where x is the twist, n is the
    speed towards the neutral pose, J* = V S (S^2 + D^2)^-1 U^T, and D^2 = max(`NEAR_SINGULAR`^2 -
    S^2, 0) for each singular value. Where none is near 0, D is 0 and J v = x. Elsewhere the tool
    moves more slowly than x in the directions that the arm is about to lose, and as x in the
    others. So v is bounded everywhere.

    Source: damped least squares with numerical filtering [Maciejewski and Klein 1988].

    Args:
        config: The action space.
        robot: The arm, with the tool of the task.

    Attributes:
        to_action: Action (A,) per joint velocity (A, N), in the state of `prepare`.
    """

    def __init__(self, config: TwistConfig, robot: RobotConfig) -> None:
        self._arm = Arm(robot)
        self._is_in_tool_frame = config.frame == "tool"
        self._free = list(config.free)
        self._scale = np.array(config.scale)
        self._neutral = np.array(robot.neutral_position)
        self._most_drift = NEUTRAL_SHARE * np.array(robot.velocity_limit)

    def prepare(self, state: RobotState) -> None:
        """Compute the maps between twists and joint velocities for a state.

        The results of `velocity` are NaN where the state is not finite.
        """
        jacobian = self._arm.jacobian(state.position)  # (6, N)
        if self._is_in_tool_frame:
            jacobian[:3] = state.tool_rotation.T @ jacobian[:3]
            jacobian[3:] = state.tool_rotation.T @ jacobian[3:]
        # (A, N), action per joint velocity
        self.to_action = jacobian[self._free] / self._scale[:, None]
        try:
            left, singular, right = np.linalg.svd(jacobian, full_matrices=False)
        except np.linalg.LinAlgError:  # not finite
            self._from_action = np.full(self.to_action.T.shape, np.nan)
            self._drift = np.full(len(self._neutral), np.nan)
            return
        gain = singular / np.maximum(singular, NEAR_SINGULAR) ** 2
        # (N, A), joint velocity per action
        self._from_action = right.T @ ((gain[:, None] * left.T[:, self._free]) * self._scale)
        towards = NEUTRAL_PER_S * (self._neutral - state.position)
        towards = np.minimum(np.maximum(towards, -self._most_drift), self._most_drift)
        self._drift = towards - right.T @ (gain * singular * (right @ towards))

    def velocity(self, action: Vector) -> Vector:
        """Return the joint velocities (N,) [rad/s] for an action (A,) in [-1, 1], in the state of
        `prepare`. They are not limited.
        """
        return np.asarray(self._from_action @ action + self._drift)
