"""The folder of `sql-ros train`: lock, settings, metrics, checkpoints and policy of a run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO, Any

import yaml

from sql_ros.common.atomic_file import write_atomically
from sql_ros.common.config import Config
from sql_ros.common.errors import ConfigError
from sql_ros.common.metrics_file import MetricsFile, drop_metrics_after, read_metrics
from sql_ros.common.run_folder import (
    METRICS,
    RUN_FILE,
    check_can_be_made,
    check_is_unlocked,
    check_is_unused,
    lock_run_folder,
    missing_folders,
    read_run,
)
from sql_ros.experiments.gym_task import is_task_file
from sql_ros.learning.checkpoint_manifest import checkpoints
from sql_ros.learning.resume import arm_of_run
from sql_ros.learning.trainer import Trainer

HOLDER = "a running sql-ros train"
# wall and processor time of training [s]; in the folder of the whole run, in a `Curve` of a session
TIMES = ("train_s", "train_cpu_s")
LARGEST_DRAWN = 1e300  # a metric beyond it is not drawn
PARAMS = "params.yaml"
POLICY = "policy.onnx"


class TrainFolder:
    """The files of one run, as a context manager that holds the lock of the folder.

    Entering the context makes the folder and locks it with run.json. Nothing else is written before
    `begin`. If the context ends before `begin`, the folder is left as it was.

    Args:
        path: Path of the folder; the context makes it if it does not exist.
        env_id: Gymnasium id, for the first line of params.yaml. The path of a task file is also
            written to run.json, so that `eval` finds the task of the policy.
        configs: Options of the run by section, for params.yaml.

    Raises:
        ConfigError: On entering: another process uses the folder.
        OSError: On entering: the folder cannot be made.

    Attributes:
        path: Path of the folder.
        saved: Transitions in the newest checkpoint that this session wrote or resumed; 0: none.
    """

    def __init__(self, path: Path, env_id: str, configs: dict[str, Config]) -> None:
        self.path = path
        self.saved = 0
        self._env_id = env_id
        self._configs = configs
        self._metrics: MetricsFile | None = None
        self._board: Any = None
        self._earlier = dict.fromkeys(TIMES, 0.0)  # times of earlier sessions [s]

    def __enter__(self) -> TrainFolder:
        self._made = missing_folders(self.path)
        run_file = self.path / RUN_FILE
        self._run_file_before = run_file.read_bytes() if run_file.exists() else None
        self.path.mkdir(parents=True, exist_ok=True)
        content = {**read_run(self.path), "real_arm": False, "holder": HOLDER}
        if is_task_file(self._env_id):
            content["task"] = str(Path(self._env_id).resolve())
        try:
            self._lock: IO[bytes] = lock_run_folder(self.path, content)
        except ConfigError:
            self._remove_made_folders()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._metrics is None:
            self._undo()
        else:
            self._metrics.close()
        self._lock.close()
        if self._board is not None:
            with contextlib.suppress(OSError):  # a full disk; the run has ended already
                self._board.close()

    def restore(self, trainer: Trainer) -> None:
        """Load the newest sound checkpoint into a trainer, and the times of earlier sessions.

        Args:
            trainer: Trainer whose state is replaced.

        Raises:
            CheckpointError: No checkpoint is sound, or the newest sound one does not fit, see
                `Trainer.load`.
        """
        extra = trainer.load(self.path / "checkpoints")
        for name in TIMES:
            seconds = extra.get(name, 0.0)
            self._earlier[name] = seconds if isinstance(seconds, float) else 0.0
        self.saved = trainer.replay.added

    def begin(self) -> None:
        """Write params.yaml, and open metrics.jsonl and, if tensorboard is installed, the events in
        tensorboard/. A second call does nothing.

        Lines of metrics.jsonl that are newer than the resumed checkpoint are removed, because this
        session makes them again.

        Raises:
            OSError: The folder cannot be written.
        """
        if self._metrics is not None:
            return
        options = {name: config.as_dict() for name, config in self._configs.items()}
        text = yaml.safe_dump(options, sort_keys=False)
        write_atomically(
            self.path / PARAMS, f"# sql-ros train {self._env_id} --params this file\n{text}"
        )
        drop_metrics_after(self.path / METRICS, self.saved)
        self._board = _tensorboard(self.path / "tensorboard")
        self._metrics = MetricsFile(self.path / METRICS)

    def add_point(self, values: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl, and to the events of tensorboard if it is installed.

        `begin` must have been called.

        Args:
            values: Numbers by name, among them "steps" and the `TIMES` of this session, which are
                written as times of the whole run.

        Raises:
            OSError: The line cannot be written.
        """
        assert self._metrics is not None, "begin() is called first"
        line = values | self.run_times(*(values[name] for name in TIMES))
        self._metrics.append(line)
        if self._board is not None:
            for name, value in line.items():
                self._board.add_scalar(name, value, values["steps"])
            self._board.flush()

    def save(self, trainer: Trainer, wall_s: float, cpu_s: float) -> None:
        """Write a checkpoint, then policy.onnx.

        Args:
            trainer: Trainer whose state is saved.
            wall_s: Wall time of this session's training [s].
            cpu_s: Processor time of this session's training [s].

        Raises:
            CheckpointError: The networks are not finite, or the folder cannot be written. The last
                checkpoint and the last policy stay.
            OSError: The policy cannot be written.
        """
        trainer.save(self.path / "checkpoints", dict(self.run_times(wall_s, cpu_s)))
        self.saved = trainer.replay.added
        write_atomically(self.path / POLICY, trainer.export())

    def points(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl that have a return, by rising number of transitions.

        Of several lines with the same number of transitions the last one counts.

        Raises:
            OSError: The file cannot be read.
        """
        by_steps = {
            line["steps"]: line
            for line in read_metrics(self.path / METRICS)
            if _is_number(line.get("steps")) and _is_number(line.get("returns"))
        }
        return [by_steps[steps] for steps in sorted(by_steps)]

    def run_times(self, wall_s: float, cpu_s: float) -> dict[str, float]:
        """Return the training times of the whole run, earlier sessions included [s].

        Args:
            wall_s: Wall time of this session's training [s].
            cpu_s: Processor time of this session's training [s].

        Returns:
            Wall and processor time by their names in `TIMES`.
        """
        return {
            name: self._earlier[name] + seconds for name, seconds in zip(TIMES, (wall_s, cpu_s))
        }

    def _undo(self) -> None:
        """Restore run.json as it was, and remove the folders that this session made."""
        run_file = self.path / RUN_FILE
        if self._run_file_before is None:
            run_file.unlink(missing_ok=True)
        else:
            run_file.write_bytes(self._run_file_before)
        self._remove_made_folders()

    def _remove_made_folders(self) -> None:
        """Remove the folders that this session made, innermost first, until one is not empty."""
        with contextlib.suppress(OSError):  # somebody put a file there meanwhile
            for folder in reversed(self._made):
                folder.rmdir()


def check_folder(path: Path, *, resume: bool) -> None:
    """Check that a training may begin or be resumed in a folder; nothing is written.

    Args:
        path: Path of the folder; it need not exist.
        resume: Whether the run in the folder is to be resumed.

    Raises:
        ConfigError: The folder cannot be made or is in use. Without `resume`: it has a run. With
            `resume`: it has no checkpoint, or a run of a real arm.
    """
    check_can_be_made(path, "--out")
    check_is_unlocked(path)
    if not resume:
        check_is_unused(path, "give --resume to go on with it, or another --out")
    elif not checkpoints(path / "checkpoints"):
        raise ConfigError(f"--resume, but {path} has no checkpoint to go on from")
    elif arm_of_run(path):
        raise ConfigError(
            f"{path} is a run of a real arm, with which nothing simulated is mixed: give"
            " another --out, without --resume"
        )


def params_of(path: Path) -> Path | None:
    """Return the path of params.yaml in a run folder; None if there is no such file."""
    params = path / PARAMS
    return params if params.is_file() else None


def _is_number(value: Any) -> bool:
    """Return whether a value of a JSON file is a number that can be drawn, so not NaN either."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LARGEST_DRAWN


def _tensorboard(folder: Path) -> Any:
    """Return a writer of tensorboard events; without tensorboard print so and return None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print(
            "tensorboard is not installed (pip install tensorboard): metrics.jsonl alone is"
            " written",
            flush=True,
        )
        return None
    return SummaryWriter(str(folder))
