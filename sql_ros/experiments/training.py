"""A training run of its own: `sql-ros train`. What it leaves is in `Run`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium
import matplotlib
import yaml
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sql_ros.core.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.core.config import Config, config_from_mapping, option, read_yaml
from sql_ros.core.errors import ConfigError
from sql_ros.core.manifest import checkpoints
from sql_ros.core.trainer import Trainer
from sql_ros.experiments.curve import EVALUATION_SEED, Curve, play
from sql_ros.experiments.gym_task import make_env
from sql_ros.experiments.gym_training import deterministic, train
from sql_ros.runs.figures import command_line, versions, write_figures

matplotlib.use("Agg")

from matplotlib import pyplot as plt

FRAMES, EVERY = 100, 2  # of the clip at most; control steps per frame
TIMES = ("train_s", "train_cpu_s")  # of a curve, which begins anew with every session


@dataclass(frozen=True)
class RunConfig(Config):
    """Of a run, beside the algorithm's and the trainer's own options."""

    steps: int = option(50_000, "transitions in all", minimum=1)
    seed: int = option(0, "of environment, networks and every draw", minimum=0)
    envs: int = option(1, "environments acted in at once", minimum=1, maximum=256)
    noisy: bool = option(False, "Ornstein-Uhlenbeck noise is added to the actions")
    evaluate_every: int = option(5_000, "transitions between two evaluations, each with a checkpoint", minimum=1)
    evaluation_episodes: int = option(5, "of each, deterministic mode", minimum=1)


SECTIONS: dict[str, type[Config]] = {"run": RunConfig, "algorithm": AlgorithmConfig, "trainer": TrainerConfig}


def settings(path: Path | None, words: list[str], given: dict[str, dict[str, Any]]) -> dict[str, Config]:
    """What a run is made with: of a YAML file, then of `section.option=value`, then what was given by name.

    Args:
        path: YAML with the sections `run`, `algorithm` and `trainer`, as a run leaves it; None: defaults.
        words: e.g. "algorithm.temperature=0.1".
        given: by section and option.

    Raises:
        ConfigError: unknown section or option, or a value that does not fit or is not YAML.
    """
    values = _by_section(path, words, given)
    return {name: config_from_mapping(kind, values[name], f"options of {name}") for name, kind in SECTIONS.items()}


def default_folder(env_id: str, path: Path | None, words: list[str], given: dict[str, dict[str, Any]]) -> Path:
    """Where a run goes that was given no folder; arguments and errors as of `settings`, whose other options are not looked at."""
    values = _by_section(path, words, given)
    kind, seed = values["algorithm"].get("kind", AlgorithmConfig.kind), values["run"].get("seed", RunConfig.seed)
    return Path("runs/train") / f"{env_id.replace('/', '_')}-{kind}-{seed}"


def _by_section(path: Path | None, words: list[str], given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    layers = [(str(path), read_yaml(path))] if path is not None else []
    for word in words:
        name, is_set, text = word.partition("=")
        section, _, key = name.partition(".")
        if not is_set or not key:
            raise ConfigError(f"--set {word}: expected section.option=value, e.g. algorithm.temperature=0.1")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
            raise ConfigError(f"--set {word}: the value is not YAML: {' '.join(str(error).split())}") from None
        layers.append((f"--set {word}", {section: {key: value}}))
    for where, layer in [*layers, ("", given)]:
        for section, options in layer.items():
            if section not in SECTIONS or not isinstance(options, dict):
                raise ConfigError(f"{where}: unknown section '{section}', expected one of: {', '.join(SECTIONS)}, with options in it")
            values[section] |= options
    return values


class Run:
    """A run folder: params.yaml, metrics.jsonl, tensorboard/, checkpoints/, policy.onnx, curve.png, clip.gif, figures.json.

    Args:
        env_id: Gymnasium id.
        folder: of the run.
        configs: from `settings`.
        resume: go on from the newest checkpoint in it.

    Raises:
        ConfigError: the folder has a run and `resume` is false, or it has none to resume.
    """

    def __init__(self, env_id: str, folder: Path, configs: dict[str, Config], *, resume: bool) -> None:
        self._env_id, self._folder, self._configs, self._resume = env_id, folder, configs, resume
        self._config: Any = configs["run"]
        saved = checkpoints(folder / "checkpoints")
        if resume and not saved:
            raise ConfigError(f"--resume, but {folder} has no checkpoint to go on from")
        if saved and not resume:
            raise ConfigError(f"{folder} has a run already: give --resume to go on with it, or another --out")
        self._board = _tensorboard(folder / "tensorboard")
        self._before: dict[str, Any] = {}  # times of earlier sessions [s]

    def make(self) -> Curve:
        """Trains to the end; interrupted, the run can be resumed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = yaml.safe_dump({name: config.as_dict() for name, config in self._configs.items()}, sort_keys=False)
        (self._folder / "params.yaml").write_text(f"# sql-ros train {self._env_id} --params this file\n{options}")
        config = self._config
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        with Progress(*columns) as shown:
            bar = shown.add_task(f"{self._env_id} {self._configs['algorithm'].kind}", total=config.steps, said="")  # type: ignore[attr-defined]

            def count(made: int) -> None:
                shown.update(bar, completed=made)

            def progress(trainer: Trainer, curve: Curve) -> None:
                self._note(trainer, curve)
                shown.update(bar, completed=curve.steps[-1], said=f"return {curve.returns[-1]:.4g}")
                shown.console.print(self._line(trainer, curve), highlight=False)

            curve = train(
                self._env_id,
                config.steps,
                config.seed,
                self._configs["algorithm"],  # type: ignore[arg-type]
                self._configs["trainer"],  # type: ignore[arg-type]
                evaluate_every=config.evaluate_every,
                evaluation_episodes=config.evaluation_episodes,
                progress=progress,
                prepare=self._prepare,
                counted=count,
                envs=config.envs,
                noisy=config.noisy,
            )
        self._finish(curve)
        return curve

    def _prepare(self, trainer: Trainer) -> None:
        if self._resume:
            self._before = trainer.load(self._folder / "checkpoints")

    def _line(self, trainer: Trainer, curve: Curve) -> str:
        success = f", success {curve.successes[-1]:.2f}" if curve.successes else ""
        return f"{curve.steps[-1]:>9} transitions, {trainer.learner.updates} updates: return {curve.returns[-1]:.4g}{success}"

    def _note(self, trainer: Trainer, curve: Curve) -> None:
        """A line of metrics, a checkpoint, the policy."""
        values = {name: points[-1] for name, points in curve.as_dict().items() if points} | trainer.metrics
        times = {name: values[name] + self._before.get(name, 0.0) for name in TIMES}  # as steps and updates, of the whole run
        values |= times
        with (self._folder / "metrics.jsonl").open("a") as lines:
            lines.write(json.dumps(values) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, curve.steps[-1])
            self._board.flush()
        trainer.save(self._folder / "checkpoints", dict(times))
        (self._folder / "policy.onnx").write_bytes(trainer.export())
        self._trainer = trainer

    def _finish(self, curve: Curve) -> None:
        """Figures, the curve of the whole run, and a clip where the environment has pictures."""
        if not curve.steps:
            return
        lines = [json.loads(line) for line in (self._folder / "metrics.jsonl").read_text().splitlines()]
        _draw([line["steps"] for line in lines], [line["returns"] for line in lines], self._env_id, self._folder / "curve.png")
        figures = {name: float(lines[-1][name]) for name, points in curve.as_dict().items() if points}
        write_figures(self._folder / "figures.json", figures, self._config.seed)
        frames = record(self._env_id, self._trainer)
        if frames:
            save_clip(frames, self._folder / "clip.gif")
        packages = ", ".join(f"{name} {version}" for name, version in versions().items())
        clip = "![clip](clip.gif)\n" if frames else ""
        text = f"# {self._env_id}\n\n    {command_line()}\n\n![curve](curve.png)\n{clip}\n| | |\n|---|---|\n"
        rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in figures.items())
        (self._folder / "report.md").write_text(f"{text}{rows}\n\n{packages}.\n")


def record(env_id: str, trainer: Trainer) -> list[Any]:
    """Pictures of an episode in the deterministic mode; none where the environment, or this machine, has none."""
    if "rgb_array" not in (make_env(env_id).metadata or {}).get("render_modes", []):
        return []
    try:
        env: Any = gymnasium.make(env_id, render_mode="rgb_array")
        states = play(env, deterministic(trainer.learner, trainer.spec), EVALUATION_SEED)
        frames = [env.render() for _ in islice(states, 0, FRAMES * EVERY, EVERY)]
        env.close()
    except Exception as error:  # whatever environment and graphics driver throw: the run is over and saved
        print(f"no clip: {' '.join(str(error).split())[:200]}", flush=True)
        return []
    return [frame for frame in frames if frame is not None]


def save_clip(frames: list[Any], path: Path) -> None:
    """Pictures (H, W, 3) as an animated GIF."""
    images = [Image.fromarray(frame).quantize(64) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0)


def _tensorboard(folder: Path) -> Any:
    """A writer of events, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("tensorboard is not installed (pip install tensorboard): metrics.jsonl alone is written", flush=True)
        return None
    return SummaryWriter(str(folder))


def _draw(steps: list[float], returns: list[float], title: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6.0, 3.6), constrained_layout=True)
    axes.plot(steps, returns, "o-", color="#1f4e79", markersize=3)
    axes.set(xlabel="transitions", ylabel="return, deterministic mode", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def make_run(env_id: str, folder: Path, configs: dict[str, Config], *, resume: bool) -> Curve:
    """Checks the environment, then makes the run; see `Run`."""
    make_env(env_id).close()
    return Run(env_id, folder, configs, resume=resume).make()
