"""Measures of the control steps for `/diagnostics`: periods, latency and inference time."""

from __future__ import annotations

from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.control.episode_actor import Step
from sql_ros.robot.control.step_schedule import KEPT_S, PeriodMeter, Samples


class StepMeter:
    """Measure how punctual commands are.

    Args:
        period_s: Of control, on its clock [s].
        clock: Of control.

    Attributes:
        periods: Periods between control steps and missed deadlines.
    """

    def __init__(self, period_s: float, clock: ControlClock) -> None:
        self.periods = PeriodMeter(period_s)
        self._clock = clock
        kept = round(KEPT_S / period_s)
        self._latency = Samples(kept)  # from the arrival of a state to its command [s]
        self._inference = Samples(kept)  # of the policy's first action [s]
        self._answered_arrival = 0.0  # of the last state whose latency was measured [s]

    def forget(self) -> None:
        """Begin a new activation: the next period is not measured."""
        self.periods.forget()
        self._answered_arrival = 0.0

    def measure(self, step: Step, arrived: float, due: float, left: float) -> None:
        """Take a control step in real time whose command has left.

        The latency of a state counts once, although several steps may answer it.

        Args:
            step: Has the inference time.
            arrived: Steady time at which the state arrived [s].
            due: Control time at which the step was due [s].
            left: Steady time at which the command left [s].
        """
        left_at = self._clock.at(left)
        self.periods.tick(left_at - due, left_at)
        if arrived != self._answered_arrival:
            self._answered_arrival = arrived
            self._latency.add(left - arrived)
        if step.inference_s:
            self._inference.add(step.inference_s)

    def values(self) -> dict[str, str]:
        """Return target and quantiles of period, jitter, latency and inference time by key of
        `/diagnostics`, in the unit of the key.
        """
        periods = self.periods
        p50, p99, largest = periods.periods.quantiles(0.5, 0.99, 1.0)
        return {
            "period_target_ms": f"{1e3 * periods.period_s:.3f}",
            "period_p50_ms": f"{1e3 * p50:.3f}",
            "period_p99_ms": f"{1e3 * p99:.3f}",
            "period_max_ms": f"{1e3 * largest:.3f}",
            **_microseconds("jitter", periods.jitter, 0.5, 0.99, 0.999, 1.0),
            **_microseconds("latency", self._latency, 0.5, 0.99, 0.999, 1.0),
            **_microseconds("inference", self._inference, 0.5, 0.99),
        }


def _microseconds(name: str, samples: Samples, *shares: float) -> dict[str, str]:
    """Return quantiles of samples [s] in microseconds, by keys such as `jitter_p99_us`."""
    values = samples.quantiles(*shares)
    return {
        f"{name}_{'max' if share == 1 else f'p{100 * share:g}'}_us": f"{1e6 * value:.1f}"
        for share, value in zip(shares, values)
    }
