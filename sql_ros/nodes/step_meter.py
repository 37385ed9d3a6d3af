"""Measure the control steps for `/diagnostics`: periods, jitter, latency and inference time."""

from __future__ import annotations

from sql_ros.robot.control.clock import ControlClock
from sql_ros.robot.control.step import Step
from sql_ros.robot.control.step_schedule import KEPT_S, PeriodMeter, Samples


class StepMeter:
    """Measures control steps, and keeps the values of the last `KEPT_S`.

    Args:
        period_s: Control period on the control clock [s].
        clock: Control clock.

    Attributes:
        periods: Periods between control steps, jitter, and number of missed deadlines.
    """

    def __init__(self, period_s: float, clock: ControlClock) -> None:
        self.periods = PeriodMeter(period_s)
        self._clock = clock
        kept = round(KEPT_S / period_s)
        self._latency = Samples(kept)  # from the arrival of a state to its command [s]
        self._inference = Samples(kept)  # time of the policy for its first action [s]
        # steady time of arrival of the last state whose latency was measured [s]
        self._answered_arrival = 0.0

    def forget(self) -> None:
        """Begin a new activation: the time until the next step is not measured as a period."""
        self.periods.forget()
        self._answered_arrival = 0.0

    def measure(self, step: Step, arrived: float, due: float, left: float) -> None:
        """Add a control step in real time whose command was sent.

        If several steps answer one state, the latency counts only at the first.

        Args:
            step: The step, with its inference time.
            arrived: Steady time at which the state arrived [s].
            due: Control time at which the step was due [s].
            left: Steady time at which the command was sent [s].
        """
        left_at = self._clock.at(left)
        self.periods.tick(left_at - due, left_at)
        if arrived != self._answered_arrival:
            self._answered_arrival = arrived
            self._latency.add(left - arrived)
        if step.inference_s:
            self._inference.add(step.inference_s)

    def values(self) -> dict[str, str]:
        """Return target and quantiles of period, jitter, latency and inference time, /diagnostics
        key to value. The end of a key is the unit.
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
    """Return quantiles of samples, /diagnostics key such as `jitter_p99_us` to value [us].

    Args:
        name: Begin of the keys.
        samples: The samples [s].
        shares: Quantiles, from 0 to 1; 1 is the maximum.
    """
    values = samples.quantiles(*shares)
    return {
        f"{name}_{'max' if share == 1 else f'p{100 * share:g}'}_us": f"{1e6 * value:.1f}"
        for share, value in zip(shares, values)
    }
