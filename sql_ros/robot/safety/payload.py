"""Estimate the load in the hand of an arm that is commanded by torques, from its motion."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sql_ros.common.errors import ConfigError
from sql_ros.robot.arm import RobotState, Vector
from sql_ros.robot.config import RobotConfig
from sql_ros.robot.safety.dynamics import Dynamics
from sql_ros.robot.safety.state_watchdog import NO_REASONS

MEMORY_S = 0.1  # a measurement has the weight exp(-age / MEMORY_S)
# weight of the initial estimate (half of the declared mass) in the fit, in
# (share of the effort limit per kg)^2
PRIOR = 0.002
# an estimate above TOLERANCE times the declared mass plus TOLERANCE_KG counts as more than declared
TOLERANCE = 1.1
TOLERANCE_KG = 0.3
# largest torque that neither the command nor the payload explains, as a share of its limit
RESIDUAL_SHARE = 0.35
PERSISTS_S = 1.0  # a load or torque beyond these holds the arm after this time; a push is shorter
CHECKED_POSES = 200  # random poses in which the weight of a declared payload is checked


class PayloadObserver:
    """Estimate a load by comparing the torque that a motion required with the torque that was
    commanded.

    The mean commanded torque between two states, less the torque that the arm alone required, is y
    = m x. Here x is the torque that one kilogram at the declared centre requires. The mass m is a
    least-squares fit with exponentially decaying weights (`MEMORY_S`). With a latency, the torques
    that acted were sent earlier by that latency.

    Args:
        robot: The arm, with the payload declared.
        dynamics: Dynamics of the arm.
        period_s: Control period [s].

    Attributes:
        mass_kg: Estimated mass [kg]; half of the declared mass before a measurement, below 0 where
            something lifts the hand.
        reasons: Why the arm must be held, by kind (only "payload"): it carries more than declared,
            or an external torque lasts for `PERSISTS_S`. Empty otherwise.
    """

    def __init__(self, robot: RobotConfig, dynamics: Dynamics, period_s: float) -> None:
        self._joints = robot.joints
        self._declared = robot.payload_kg
        self._compensated = robot.payload_kg if robot.payload_is_compensated else 0.0
        self._effort = np.maximum(robot.effort_limit, 1e-9)
        self._dynamics = dynamics
        self._period = period_s
        self.reckon_with_latency(robot.reckoned_latency_s)
        self.forget()

    def reckon_with_latency(self, seconds: float) -> None:
        """Set the time after which torques act [s]. The caller must call `forget` next."""
        self._latency = seconds
        self._remembered_s = seconds + 3.0 * self._period

    def forget(self) -> None:
        """Forget states, torques, estimate and reasons, because the arm may carry another load.

        `mass_kg` becomes half of the declared mass.
        """
        self.mass_kg = 0.5 * self._declared
        self.reasons: Mapping[str, str] = NO_REASONS
        self._weight = self._moment = 0.0  # weighted sums of x.x and x.y
        self._residual = np.zeros_like(self._effort)
        self._beyond_s = 0.0
        self._last: RobotState | None = None
        # torques sent, and the time for which each acts [s]; the newest last
        self._torques: list[tuple[Vector, float]] = []

    @property
    def doubt_kg(self) -> float:
        """Return the uncertainty of the mass [kg].

        It is half of the declared mass before a measurement, and falls with the measured motion.
        """
        return 0.5 * self._declared * PRIOR / (self._weight + PRIOR)

    def sent(self, torque: Vector) -> None:
        """Take a torque (N,) [N m] that was sent just now, and forget torques that act no more."""
        self._torques.append((torque, self._period))
        while sum(duration_s for _, duration_s in self._torques[1:]) > self._remembered_s:
            del self._torques[0]

    def lasted(self, seconds: float) -> None:
        """Take the time for which the last torque has acted [s]; without a call, one period."""
        if self._torques:
            self._torques[-1] = (self._torques[-1][0], seconds)

    def take(self, state: RobotState) -> None:
        """Take a state, and update `mass_kg` and `reasons` by the motion since the last one.

        Nothing changes if the stamp is the same, or if the torque in between is not known.
        """
        last = self._last
        if last is not None and state.stamp_ns == last.stamp_ns:
            return
        self._last = state
        if last is None:
            return
        elapsed = 1e-9 * (state.stamp_ns - last.stamp_ns)
        torque = self._mean_torque(elapsed)
        if torque is None:
            return
        arm_torque, per_kg, weight = self._dynamics.required_torque(
            last.position, last.velocity, state.velocity, elapsed
        )
        missing = (torque - arm_torque + self._compensated * weight) / self._effort
        per_kg = per_kg / self._effort
        if not math.isfinite(missing.sum()):
            return
        decay = math.exp(-elapsed / MEMORY_S)
        self._weight = decay * self._weight + float(per_kg @ per_kg)
        self._moment = decay * self._moment + float(per_kg @ missing)
        self.mass_kg = (self._moment + 0.5 * PRIOR * self._declared) / (self._weight + PRIOR)
        self._residual = decay * self._residual + (1.0 - decay) * (missing - self.mass_kg * per_kg)
        self._judge(elapsed)

    def _mean_torque(self, elapsed: float) -> Vector | None:
        """Return the mean of the commanded torques that acted between the last two states (N,) [N
        m].

        Args:
            elapsed: Time between these states [s].

        Returns:
            None if that time is shorter than half a period or longer than the memory, or if no
            torques are known for all of it.
        """
        if not 0.5 * self._period < elapsed < self._remembered_s:
            return None
        skipped_s = self._latency
        remaining_s = elapsed
        total = np.zeros_like(self._effort)
        for torque, duration_s in reversed(self._torques):
            skipped = min(skipped_s, duration_s)
            skipped_s -= skipped
            acts = min(duration_s - skipped, remaining_s)
            total = total + acts * torque
            remaining_s -= acts
        return total / elapsed if remaining_s < 0.01 * elapsed else None

    def _judge(self, elapsed: float) -> None:
        """Update `reasons` by the estimated mass, and by the torque that the mass does not explain.

        A reason begins after `PERSISTS_S`, and ends with the first state that is within the limits.

        Args:
            elapsed: Time since the last state [s].
        """
        most = TOLERANCE * self._declared + TOLERANCE_KG
        joint = int(np.abs(self._residual).argmax())
        share = float(abs(self._residual[joint]))
        if self.mass_kg <= most and share <= RESIDUAL_SHARE:
            self._beyond_s = 0.0
            self.reasons = NO_REASONS
            return
        self._beyond_s += elapsed
        if self._beyond_s < PERSISTS_S:
            return
        if self.mass_kg > most:
            reason = (
                f"the hand carries about {self.mass_kg:.2g} kg more than the arm's model,"
                f" payload_kg is {self._declared:g}"
            )
        else:
            torque = share * self._effort[joint]
            reason = (
                f"{self._joints[joint]} moves as with {torque:.2g} N m from elsewhere: contact, a"
                " payload, friction or a wrong model"
            )
        self.reasons = {"payload": reason}


def check_payload(config: RobotConfig, dynamics: Dynamics, acceleration: Vector) -> None:
    """Check that a declared payload is safe before it is estimated.

    Its weight must neither overload the motors at the neutral pose nor accelerate a joint beyond
    its limit in one of `CHECKED_POSES` random poses. Without a declared payload nothing is checked.

    Args:
        config: The arm, with the payload declared.
        dynamics: Dynamics of the arm.
        acceleration: Largest acceleration that is used (N,) [rad/s^2].

    Raises:
        ConfigError: The payload is too heavy for that.
    """
    declared = config.payload_kg
    if not declared:
        return
    advice = "declare less, or put the load into the MJCF of the hand"
    effort = np.array(config.effort_limit)
    if not dynamics.carries(np.array(config.neutral_position), effort, declared):
        raise ConfigError(
            f"'payload_kg' is {declared:g}, which no 'effort_limit' of '{config.name}' holds at its"
            f" neutral pose: {advice}"
        )
    poses = np.random.default_rng(0).uniform(
        config.position_lower, config.position_upper, (CHECKED_POSES, len(config.joints))
    )
    sags = np.array([np.abs(dynamics.sag(pose)) for pose in poses]).max(0) / dynamics.period_s
    joint = int((sags / acceleration).argmax())
    most = acceleration[joint] / sags[joint]
    if declared > most:
        raise ConfigError(
            f"'payload_kg' is {declared:g}, expected at most {most:.2g}: before it is weighed it"
            f" accelerates {config.joints[joint]} by {declared * sags[joint]:.3g} rad/s^2, and the"
            f" limit is {acceleration[joint]:.3g}: {advice}"
        )
