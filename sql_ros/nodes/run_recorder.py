"""Write metrics, policy and report of a run into its folder, for the monitor."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from sql_ros.common.errors import ConfigError
from sql_ros.common.metrics_file import MetricsFile
from sql_ros.nodes.diagnostics import Diagnostics
from sql_ros.nodes.ending import ENDING
from sql_ros.nodes.monitor_config import EVALUATION_SEED, MonitorConfig
from sql_ros.policy.runtime import Policy
from sql_ros.robot.task import Task
from sql_ros.runs.evaluation import Evaluation
from sql_ros.runs.progress import RunProgress
from sql_ros.runs.report import keep_policy, point_latest, write_report


def print_line(text: str) -> None:
    """Print a line on stdout; it is lost if nothing reads stdout any more (`common/output.py`)."""
    print(text, flush=True)


class RunRecorder:
    """Writes metrics, policy and report of a run into its folder.

    Args:
        run_dir: Run folder, which is made if it is missing; None: nothing is written.
        progress: Progress of the run. Metrics of earlier sessions in the folder are added to it.
        diagnostics: Counts what cannot be written.

    Attributes:
        run_dir: Run folder. Set it to None if another monitor has this run: then neither link nor
            report is written.

    Raises:
        ConfigError: The folder cannot be written to.
    """

    def __init__(
        self, run_dir: Path | None, progress: RunProgress, diagnostics: Diagnostics
    ) -> None:
        self.run_dir = run_dir
        self._progress = progress
        self._diagnostics = diagnostics
        self._metrics = self._open_metrics()

    def _open_metrics(self) -> MetricsFile | None:
        """Make the run folder, read the metrics of earlier sessions into the progress, and open
        metrics.jsonl in the folder.

        Returns:
            The file; None without a run folder.

        Raises:
            ConfigError: The folder cannot be written to.
        """
        if self.run_dir is None:
            return None
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            self._progress.resume(self.run_dir / "metrics.jsonl")
            metrics = MetricsFile(self.run_dir / "metrics.jsonl")
        except OSError as error:
            raise ConfigError(f"run_dir {self.run_dir} cannot be written: {error}") from None
        return metrics

    def point_latest(self) -> None:
        """Point the link runs/latest to this run; count a fault if that fails. Without a run folder
        nothing is done.

        Call it at the first transition, so that a start that was refused leaves the link as it was.
        """
        if self.run_dir is None:
            return
        try:
            point_latest(self.run_dir)
        except OSError as error:
            self._diagnostics.fault(
                "latest_lost", f"runs/latest does not point to this run: {error}"
            )

    def record(self, kind: str, **values: Any) -> None:
        """Write a line to the metrics file, if there is one; count a fault if that fails.

        Args:
            kind: Kind of the line: "episode" or "evaluation".
            values: Values of the line.
        """
        if self._metrics is None:
            return
        try:
            self._metrics.write(kind, self._progress.wall_s, **values)
        except OSError as error:
            self._fault_once(
                "metrics_lost",
                f"{error}; the run continues, and lost lines are counted on /diagnostics",
            )

    def _fault_once(self, kind: str, text: str) -> None:
        """Count a fault, and log only the first one of its kind, because a full disk stays full.

        Args:
            kind: Key of the count.
            text: Description for the log.
        """
        if kind in self._diagnostics.faults:
            self._diagnostics.faults[kind] += 1
        else:
            self._diagnostics.fault(kind, text)

    def write_report(
        self,
        task: Task,
        config: MonitorConfig,
        policy: Policy | None,
        result: Evaluation | None,
        ending: str,
    ) -> None:
        """Write policy.onnx (if there is a policy), report.md, figures.json and pictures into the
        run folder, and print a line with the result. Without a run folder nothing is done.

        No picture is drawn if the process must end soon.

        Args:
            task: Task of the run.
            config: Parameters of the monitor.
            policy: Policy of the report; None: there is none.
            result: Evaluation of the policy; None: it was not evaluated.
            ending: Sentence that says why the run ended.

        Raises:
            OSError: A file cannot be written.
        """
        run_dir = self.run_dir
        if run_dir is None:
            return
        if policy is not None:
            keep_policy(policy, run_dir / "policy.onnx")
        command = (
            config.command
            or f"ros2 run sql_ros monitor --ros-args -p task:={shlex.quote(config.task)}"
        )
        figures = write_report(
            run_dir,
            task,
            self._progress,
            policy,
            result,
            command=command,
            seed=config.seed,
            evaluation_seed=EVALUATION_SEED,
            ending=ending,
            source=config.task,
            draws=not ENDING.is_hurried,
        )
        rate = "its policy was not evaluated, "
        if result:
            kind = "simulated success rate" if config.real_arm else "success rate"
            rate = f"{kind} {result.success_rate:.2f}, "
        if config.real_arm:
            rate = (
                f"the real arm reached the goal in {self._progress.successes} of"
                f" {len(self._progress.episodes)} episodes, {rate}"
            )
        shown = os.path.relpath(run_dir / "report.md")
        print_line(
            f"{ending} {rate}{figures['robot_minutes']:.1f} robot minutes,"
            f" {figures['wall_s']:.0f} s: {shown}"
        )
