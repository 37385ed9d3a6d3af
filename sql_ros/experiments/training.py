"""The training of `sql-ros train`, on a Gymnasium environment. `TrainFolder` has its files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import yaml
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sql_ros.common.atomic_file import write_atomically
from sql_ros.common.config import Config, config_from_mapping, option, read_yaml
from sql_ros.common.errors import CheckpointError, ConfigError, SqlRosError
from sql_ros.common.figures_json import command_line, versions, write_figures
from sql_ros.common.html_report import write_html
from sql_ros.common.interruption import Interrupted, SignalWatch, watched_signals
from sql_ros.common.markdown import markdown_table
from sql_ros.common.plotting import pyplot, save_figure, tidy, try_plot
from sql_ros.envs.checked_env import described
from sql_ros.experiments.curve import EVALUATION_SEED, Curve, play
from sql_ros.experiments.gym_task import is_task_file, opened_env, spec_of
from sql_ros.experiments.gym_training import Training, deterministic
from sql_ros.experiments.train_folder import TrainFolder, check_folder
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.learner import MIXTURE_COMPONENTS, TARGET_PERIOD
from sql_ros.learning.preflight import check_training
from sql_ros.learning.trainer import Trainer

CLIP_FRAMES = 100  # longest clip
CLIP_EVERY = 2  # control steps per frame


@dataclass(frozen=True)
class RunConfig(Config):
    """Options of a training besides those of the algorithm and of the trainer."""

    steps: int = option(50_000, "transitions in all", minimum=1)
    seed: int = option(0, "of environment, networks and every draw", minimum=0)
    envs: int = option(1, "environments acted in at once", minimum=1, maximum=256)
    noisy: bool = option(False, "Ornstein-Uhlenbeck noise is added to the actions")
    evaluate_every: int = option(
        5_000, "transitions between two evaluations, each with a checkpoint", minimum=1
    )
    evaluation_episodes: int = option(5, "of each, deterministic mode", minimum=1)


SECTIONS: dict[str, type[Config]] = {
    "run": RunConfig,
    "algorithm": AlgorithmConfig,
    "trainer": TrainerConfig,
}

# options of `algorithm` in params.yaml of runs of version 0.2.0, constants of the learner since
FORMER = {"mixture_components": MIXTURE_COMPONENTS, "target_period": TARGET_PERIOD}

Options = dict[str, dict[str, Any]]  # section -> name of the option -> value


def settings(path: Path | None, words: list[str], given: Options) -> dict[str, Config]:
    """Return the options of a training by section.

    An option in `given` comes before one in `words`, which comes before the file. Options that are
    nowhere have their defaults.

    Args:
        path: YAML file with the sections `run`, `algorithm` and `trainer`, e.g. params.yaml of a
            run; None: no file.
        words: Words `section.option=value`, e.g. "algorithm.temperature=0.1".
        given: Options that the command line has by name.

    Returns:
        The config of each section in `SECTIONS`.

    Raises:
        ConfigError: The file cannot be read, a section or option is unknown, or a value does not
            fit or is not YAML.
    """
    values = _values_by_section(path, words, given)
    return {
        name: config_from_mapping(kind, values[name], f"options of {name}")
        for name, kind in SECTIONS.items()
    }


def default_folder(env_id: str, path: Path | None, words: list[str], given: Options) -> Path:
    """Return the folder of a training without --out: runs/train/ENVIRONMENT-ALGORITHM-SEED.

    Args:
        env_id: Gymnasium id, or the path of a task file.
        path: YAML file with options, see `settings`.
        words: Words `section.option=value`, see `settings`.
        given: Options that the command line has by name, see `settings`.

    Raises:
        ConfigError: The file cannot be read, a section is unknown, or a value is not YAML.
    """
    values = _values_by_section(path, words, given)
    kind = values["algorithm"].get("kind", AlgorithmConfig.kind)
    seed = values["run"].get("seed", RunConfig.seed)
    name = Path(env_id).stem if is_task_file(env_id) else env_id.replace("/", "_")
    return Path("runs/train") / f"{name}-{kind}-{seed}"


def _values_by_section(path: Path | None, words: list[str], given: Options) -> Options:
    """Merge the options of a file, of words and of the command line, without checking them.

    Args:
        path: YAML file with options, see `settings`; None: no file.
        words: Words `section.option=value`; each replaces the option in the file.
        given: Options that the command line has by name; each replaces the option in both others.

    Returns:
        Values by section and name; options that are nowhere are missing.

    Raises:
        ConfigError: The file cannot be read, a section is unknown, or a value is not YAML.
    """
    values: Options = {name: {} for name in SECTIONS}
    layers: list[tuple[str, dict[str, Any]]] = []
    if path is not None:
        layers.append((str(path), _without_former(read_yaml(path))))
    layers += [(f"--set {word}", _option_of_word(word)) for word in words]
    layers.append(("", given))
    for source, layer in layers:
        for section, options in layer.items():
            if section not in SECTIONS or not isinstance(options, dict):
                raise ConfigError(
                    f"{source}: unknown section '{section}', expected one of:"
                    f" {', '.join(SECTIONS)}, with options in it"
                )
            values[section] |= options
    return values


def _without_former(options: Options) -> Options:
    """Return the options of a file without former options that have the value of their constant.

    A former option with another value stays, and is later refused as unknown.

    Args:
        options: Content of the file, by section and name.
    """
    algorithm = options.get("algorithm")
    if not isinstance(algorithm, dict):
        return options
    kept = {
        name: value
        for name, value in algorithm.items()
        if name not in FORMER or value != FORMER[name]
    }
    return {**options, "algorithm": kept}


def _option_of_word(word: str) -> Options:
    """Return the option of a word `section.option=value`, with the value read as YAML.

    Raises:
        ConfigError: The word has another form, or the value is not YAML.
    """
    name, equals, text = word.partition("=")
    section, _, key = name.partition(".")
    if not equals or not key:
        raise ConfigError(
            f"--set {word}: expected section.option=value, e.g. algorithm.temperature=0.1"
        )
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # an invalid date is a ValueError
        raise ConfigError(
            f"--set {word}: the value is not YAML: {' '.join(str(error).split())}"
        ) from None
    return {section: {key: value}}


class TrainingRun:
    """One session of a training in its folder. Construction checks everything and writes nothing.

    Args:
        env_id: Gymnasium id.
        folder: Folder of the run.
        configs: Options by section, from `settings`.
        resume: Whether the training goes on from the newest checkpoint in the folder.

    Raises:
        ConfigError: The environment cannot be used; the folder cannot be made or is in use; it has
            a run without `resume`, or none with `resume`; or memory or disk space is too small.
        CheckpointError: The checkpoint to resume does not fit the environment or the options.
    """

    def __init__(
        self, env_id: str, folder: Path, configs: dict[str, Config], *, resume: bool
    ) -> None:
        check_folder(folder, resume=resume)
        self._env_id = env_id
        self._path = folder
        self._configs = configs
        self._resume = resume
        self._config = cast(RunConfig, configs["run"])
        self._algorithm = cast(AlgorithmConfig, configs["algorithm"])
        self._trainer = cast(TrainerConfig, configs["trainer"])
        with opened_env(env_id) as env:
            check_training(
                folder,
                spec_of(env),
                self._algorithm,
                self._trainer,
                most_transitions=self._config.steps,
                resume=resume,
            )

    def train_to_end(self) -> Curve:
        """Train to the end, then write figures.json, curve.png, clip.gif and report.md.

        On the way, every point of the curve is saved, see `_keep_point`. When an error or a signal
        ends the training, what came after the last checkpoint is saved, too.

        Returns:
            The curve of this session, without points if the run was already complete.

        Raises:
            Interrupted: A signal has asked the process to end.
            KeyboardInterrupt: Ctrl-C has come again; nothing more is saved.
            SqlRosError: The environment broke a rule, the networks diverged, or a file could not be
                written. The text says what is saved.
        """
        with (
            watched_signals() as signals,
            self._training() as training,
            self._folder() as folder,
        ):
            if self._resume:
                folder.restore(training.trainer)
            with _saved_on_the_way_out(training, folder):
                self._train(training, folder, signals)
                self._finish(training, folder, signals)
            return training.recorder.curve

    def _training(self) -> Training:
        """Open the environments and build an untrained trainer, with the options of this run.

        Returns:
            The training, a context that closes the environments.
        """
        return Training(
            self._env_id,
            self._config.seed,
            self._algorithm,
            self._trainer,
            evaluation_episodes=self._config.evaluation_episodes,
            envs=self._config.envs,
            noisy=self._config.noisy,
        )

    def _folder(self) -> TrainFolder:
        """Return the run folder, neither made nor locked yet."""
        return TrainFolder(self._path, self._env_id, self._configs)

    def _train(self, training: Training, folder: TrainFolder, signals: SignalWatch) -> None:
        """Train with a progress bar on the terminal, and save every point of the curve.

        A line is printed for each point. If the run has as many transitions already, nothing is
        done.

        Args:
            training: The training to run.
            folder: The locked run folder; `begin` is called after the first step.
            signals: Raises `Interrupted` after the step in which a signal came.
        """
        config = self._config
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        with Progress(*columns) as shown:
            title = f"{self._env_id} {self._algorithm.kind}"
            bar = shown.add_task(title, total=config.steps, said="")

            def between_steps() -> None:
                folder.begin()
                shown.update(bar, completed=training.trainer.replay.added)
                signals.check()

            def progress(trainer: Trainer, curve: Curve) -> None:
                folder.begin()
                self._keep_point(training, folder)
                shown.update(bar, completed=curve.steps[-1], said=f"return {curve.returns[-1]:.4g}")
                shown.console.print(_line(trainer, curve), highlight=False)

            training.run(
                config.steps,
                config.evaluate_every,
                progress=progress,
                between_steps=between_steps,
            )

    def _keep_point(self, training: Training, folder: TrainFolder) -> None:
        """Write the newest point of the curve: a line of metrics, a checkpoint and policy.onnx.

        The line comes first: if the checkpoint fails, a resumed run removes and repeats the line.

        Args:
            training: The training.
            folder: The locked run folder.
        """
        trainer = training.trainer
        curve = training.recorder.curve
        newest = {name: points[-1] for name, points in curve.as_dict().items() if points}
        folder.add_point(newest | trainer.metrics)
        folder.save(trainer, curve.train_s[-1], curve.train_cpu_s[-1])

    def _finish(self, training: Training, folder: TrainFolder, signals: SignalWatch) -> None:
        """Write figures.json, curve.png of the whole run, clip.gif, report.md and report.html.

        There is no curve.png without matplotlib, and no clip.gif of an environment without
        pictures; the reason is printed. If no point was added in this session, a line says so and
        nothing is written.

        Args:
            training: The training, which has ended.
            folder: The locked run folder.
            signals: Raises `Interrupted` if a signal comes while the clip is recorded.
        """
        curve = training.recorder.curve
        if not curve.steps:
            print(f"nothing to do: the run has {training.trainer.replay.added} transitions already")
            return
        points = folder.points()
        path = folder.path
        has_curve, why_not = try_plot(lambda: _plot(points, self._env_id, path / "curve.png"))
        if not has_curve:
            print(f"no curve: {why_not}", flush=True)
        figures = {name: float(values[-1]) for name, values in curve.as_dict().items() if values}
        figures |= folder.run_times(curve.train_s[-1], curve.train_cpu_s[-1])
        write_figures(path / "figures.json", figures, self._config.seed)
        has_clip = training.has_pictures and record(
            self._env_id, training.trainer, path / "clip.gif", signals.check
        )
        pictures = {"curve": has_curve, "clip": has_clip}
        write_atomically(path / "report.md", _report(self._env_id, figures, pictures))
        write_html(path / "report.md")


@contextlib.contextmanager
def _saved_on_the_way_out(training: Training, folder: TrainFolder) -> Iterator[None]:
    """Save what came after the last checkpoint when an exception ends the training, and say so.

    At a KeyboardInterrupt (the second Ctrl-C) nothing is saved.

    Args:
        training: The training that runs in the `with` block.
        folder: The locked run folder.

    Raises:
        Interrupted: As it came; what is saved is printed.
        SqlRosError: As it came, with what is saved added to the text.
        CheckpointError: In place of an OSError, with what is saved in the text.
        Exception, SystemExit: As it came; what is saved is printed to stderr.
    """
    try:
        yield
    except KeyboardInterrupt:  # the second Ctrl-C ends without saving
        raise
    except Interrupted as interruption:
        saved = _save_rest(training, folder)
        with contextlib.suppress(OSError):  # the terminal is closed
            print(f"ended by {interruption}: {saved}", flush=True)
        raise
    except SqlRosError as error:
        saved = _save_rest(training, folder)
        raise type(error)(f"{error}; {saved}" if saved else str(error)) from error
    except OSError as error:
        saved = _save_rest(training, folder)
        raise CheckpointError(f"cannot write to {folder.path}: {error}; {saved}") from error
    except (Exception, SystemExit):  # rich raises SystemExit if nobody reads stdout any more
        print(_save_rest(training, folder), file=sys.stderr, flush=True)
        raise


def _save_rest(training: Training, folder: TrainFolder) -> str:
    """Save the transitions made since the last checkpoint: write a new one, and policy.onnx.

    Nothing is written if there are none. If `folder.begin` was not called yet, it is called. An
    error of a file or of the networks is not raised but returned in the text.

    Args:
        training: The training.
        folder: The locked run folder.

    Returns:
        Which transitions are saved or lost now, as text for the user; empty without transitions.
    """
    made = training.trainer.replay.added
    lost = ""
    if made > folder.saved:
        try:
            folder.begin()
            folder.save(training.trainer, *training.recorder.clock.read())
        except (SqlRosError, OSError) as error:
            lost = f"{made - folder.saved} transitions are not saved ({error}); "
    if not made:
        return ""
    if not folder.saved:
        return f"{lost}{folder.path} has no checkpoint"
    return f"{lost}{folder.saved} transitions are saved in {folder.path}, --resume continues them"


def _line(trainer: Trainer, curve: Curve) -> str:
    """Return the newest point of a curve as a line for the terminal."""
    success = f", success {curve.successes[-1]:.2f}" if curve.successes else ""
    return (
        f"{curve.steps[-1]:>9} transitions, {trainer.learner.updates} updates: return"
        f" {curve.returns[-1]:.4g}{success}"
    )


def _report(env_id: str, figures: dict[str, float], pictures: dict[str, bool]) -> str:
    """Return the text of report.md: the command, the pictures, a table of the figures, and the
    versions.

    Args:
        env_id: Gymnasium id.
        figures: Numbers by name.
        pictures: Whether "curve" (curve.png) and "clip" (clip.gif) exist.
    """
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    curve = "![curve](curve.png)\n" if pictures["curve"] else ""
    clip = "![clip](clip.gif)\n" if pictures["clip"] else ""
    table = markdown_table(
        ("figure", "value"), [(name, f"{value:.4g}") for name, value in figures.items()]
    )
    return f"# {env_id}\n\n    {command_line()}\n\n{curve}{clip}\n{table}\n\n{packages}.\n"


def record(
    env_id: str, trainer: Trainer, path: Path, between_steps: Callable[[], None] = lambda: None
) -> bool:
    """Save a clip of one episode in the deterministic mode.

    Every control step number `CLIP_EVERY` is a frame, up to `CLIP_FRAMES` frames. An error other
    than a signal is printed, and leaves no clip.

    Args:
        env_id: Gymnasium id.
        trainer: Trainer whose policy acts.
        path: Path of the GIF.
        between_steps: Called between the frames. Only `Interrupted` and exceptions that are no
            `Exception` pass through; they end the recording.

    Returns:
        Whether the clip was written. The environment, or this machine, may give no pictures.

    Raises:
        Interrupted: `between_steps` raised it.
    """
    try:
        with opened_env(env_id, render_mode="rgb_array") as env:
            frames = []
            states = play(env, deterministic(trainer.learner, trainer.spec), EVALUATION_SEED)
            for _ in islice(states, 0, CLIP_FRAMES * CLIP_EVERY, CLIP_EVERY):
                between_steps()
                frames.append(env.render())
        pictures = [frame for frame in frames if frame is not None]
        if pictures:
            save_clip(pictures, path)
        return bool(pictures)
    except Interrupted:
        raise
    # environment and graphics driver may raise any exception; the run is over and saved
    except Exception as error:
        print(f"no clip: {described(error)}", flush=True)
        return False


def save_clip(frames: list[Any], path: Path) -> None:
    """Save pictures as an animated GIF of 20 frames per second.

    Args:
        frames: RGB pictures (H, W, 3), uint8, at least one.
        path: Path of the GIF.
    """
    images = [Image.fromarray(frame).quantize(64) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0)


def _plot(points: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw the return over the transitions.

    Args:
        points: Points of the curve, with "steps" and "returns".
        title: Title of the picture.
        path: Path of the PNG.

    Raises:
        ImportError: Matplotlib cannot be used.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.0, 3.6), constrained_layout=True)
    steps = [point["steps"] for point in points]
    returns = [point["returns"] for point in points]
    axes.plot(steps, returns, "o-", color="#1f4e79", markersize=3)
    axes.set(xlabel="transitions", ylabel="return, deterministic mode", title=title)
    tidy(axes)
    save_figure(figure, path)


def make_run(env_id: str, folder: Path, configs: dict[str, Config], *, resume: bool) -> Curve:
    """Check environment, folder and machine, then train to the end or until a signal comes.

    The errors are those of `TrainingRun` and `TrainingRun.train_to_end`.

    Args:
        env_id: Gymnasium id.
        folder: Folder of the run.
        configs: Options by section, from `settings`.
        resume: Whether the training goes on from the newest checkpoint in the folder.

    Returns:
        The curve of this session.
    """
    return TrainingRun(env_id, folder, configs, resume=resume).train_to_end()
