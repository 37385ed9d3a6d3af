"""`sql-ros`: one program, a few commands. What a command needs is imported when it is called, so that `--help` is quick."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

from sql_ros import __version__
from sql_ros.cli import bench as bench_cli
from sql_ros.cli import chaos as chaos_cli
from sql_ros.cli import demo as demo_cli
from sql_ros.cli import experiment as experiment_cli
from sql_ros.cli import fuzz as fuzz_cli
from sql_ros.cli import train as train_cli
from sql_ros.cli import trials as trials_cli
from sql_ros.cli import verify as verify_cli
from sql_ros.cli.numbers import natural, positive
from sql_ros.core.errors import CONFIG_EXIT_CODE, ConfigError, SqlRosError


def main(argv: list[str] | None = None) -> int:
    """Runs a command; wrong input is one line on stderr and exit code 2."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if args.name == "up":  # argparse takes no name:=value after an option
        args.arguments, rest = args.arguments + [item for item in rest if ":=" in item], [item for item in rest if ":=" not in item]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(args.run(args))
    except SqlRosError as error:
        print(f"sql-ros {args.name}: {error}", file=sys.stderr)
        return CONFIG_EXIT_CODE
    except OSError as error:
        if error.filename is None:
            raise
        print(f"sql-ros {args.name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return CONFIG_EXIT_CODE
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sql-ros",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Soft Q-learning for real robot arms over ROS 2 (nothing to do with databases).",
        epilog="""first steps:
  sql-ros doctor                                    what works on this machine, and what to do about what does not
  sql-ros up sawyer_stack                           train the simulated Sawyer until it reaches its goals
  sql-ros eval --policy runs/latest/policy.onnx     how good is the result?
  sql-ros up sawyer_stack mode:=play policy:=runs/latest/policy.onnx realtime_factor:=1
  sql-ros verify                                    is the mathematics right? a row per check""",
    )
    parser.add_argument("--version", action="version", version=f"sql_ros {__version__}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="command")
    _add_up(commands)
    _add_eval(commands)
    _add_demo(commands)
    _add_trials(commands)
    _add_bench(commands)
    _add_verify(commands)
    _add_chaos(commands)
    _add_fuzz(commands)
    _add_train(commands)
    _add_compose(commands)
    _add_experiment(commands)
    _add_doctor(commands)
    _add_params(commands)
    _add_keygen(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_module(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], module: ModuleType, name: str, summary: str, examples: str
) -> None:
    """A command with a module of its own, which has `add_arguments` and `run`."""
    parser = _command(commands, name, summary, examples)
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)


# --- up ---


def _add_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    up = _command(
        commands,
        "up",
        "start a stack: the same processes, parameters and remappings as ros2 launch",
        """  sql-ros up sawyer_stack                                   train sawyer_reach in lockstep, stop when it is learned
  sql-ros up sawyer_stack seed:=3 run_dir:=runs/third       another seed, a folder of one's own
  sql-ros up sawyer_stack --resume runs/third               go on where that run stopped, with its task
  sql-ros up task:=ur5e_reach                               the stack's name may be left out
  sql-ros up sawyer_stack mode:=play policy:=runs/latest/policy.onnx realtime_factor:=1
  sql-ros up sawyer_stack sim:=false                        the real arm's topics instead of the simulation
  sql-ros up sawyer_stack --show-args                       every argument with its default""",
    )
    up.add_argument("arguments", nargs="*", metavar="stack name:=value", help="the stack (sawyer_stack may be left out), launch arguments")
    up.add_argument("--resume", metavar="RUN_DIR", help="short for run_dir:=RUN_DIR resume:=true")
    up.add_argument("--json", type=Path, metavar="FILE", help="copy the run's figures.json there")
    up.add_argument("-s", "--show-args", action="store_true", help="list the arguments and end")
    up.set_defaults(run=_up)


def _up(args: argparse.Namespace) -> int:
    from sql_ros.stack.description import claim_run_dir
    from sql_ros.stack.preflight import STACKS
    from sql_ros.stack.supervisor import run_stack

    name, given = _stack_and_arguments(args.arguments, tuple(STACKS))
    arguments, check = STACKS[name]
    if args.show_args:
        for argument in arguments:
            print(f"{argument.name + ':=' + argument.default:40s} {argument.help}")
        return 0
    if args.resume:
        if given.get("run_dir", args.resume) != args.resume:
            raise ConfigError(f"--resume {args.resume}, but run_dir:={given['run_dir']}: give one of them")
        given |= {"run_dir": args.resume, "resume": "true"}
    stack, lock = claim_run_dir(check(given))
    with lock:
        code = run_stack(stack, shlex.join(["sql-ros", "up", name, *stack.repeats]))
    if args.json and not code:
        figures = stack.run_dir / "figures.json"
        if not figures.is_file():
            raise ConfigError(f"--json {args.json}: the run left no {figures}")
        args.json.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(figures, args.json)
    return code


def _stack_and_arguments(words: list[str], stacks: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the stack that is named, the first one if none is, and the launch arguments.

    Raises:
        ConfigError: A word is neither.
    """
    from sql_ros.share import share_folder

    given: dict[str, str] = {}
    for argument, value in (word.split(":=", 1) for word in words if ":=" in word):
        if argument in given:
            raise ConfigError(f"{argument}:= is given twice: {given[argument]} and {value}")
        given[argument] = value
    names = [word for word in words if ":=" not in word]
    for place, name in enumerate(names):
        if place == 0 and name in stacks:
            continue
        if (share_folder() / "config" / "tasks" / f"{name}.yaml").is_file() and name not in stacks:
            raise ConfigError(f"'{name}' is a task, not a stack: sql-ros up task:={name}")
        if place == 0 and "=" not in name:
            raise ConfigError(f"unknown stack '{name}', expected one of: {', '.join(stacks)}; arguments are of the form name:=value")
        raise ConfigError(f"'{name}' is not of the form name:=value")
    return (names or stacks)[0], given


# --- eval ---


def _add_eval(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = _command(
        commands,
        "eval",
        "evaluate an exported policy in simulation, without ROS",
        """  sql-ros eval --policy runs/latest/policy.onnx
  sql-ros eval --policy runs/latest/policy.onnx --task sawyer_reach --episodes 20 --seed 7 --json eval.json
  sql-ros eval --policy runs/latest/policy.onnx --sample     the stochastic policy instead of its deterministic mode""",
    )
    evaluate.add_argument("--policy", required=True, metavar="FILE", help="an ONNX file written by a run, or a name in config/policies/")
    evaluate.add_argument("--task", default="", help="name of a file in config/tasks/, or a path (default: that of the policy)")
    evaluate.add_argument("--episodes", default=100, type=positive, help="how many (default: %(default)s)")
    evaluate.add_argument("--seed", default=1000, type=natural, help="of start poses and targets (default: %(default)s)")
    evaluate.add_argument(
        "--sample", action="store_true", help="sample actions instead of the deterministic mode: the mean of the samples, or the best"
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    evaluate.set_defaults(run=_eval)


def _eval(args: argparse.Namespace) -> int:
    import time

    from sql_ros.robot.policy_file import load_policy
    from sql_ros.runs.evaluation import Evaluation, Evaluator
    from sql_ros.runs.figures import write_figures

    task, policy = load_policy(args.policy, args.task)
    began = time.monotonic()

    def show(so_far: Evaluation) -> bool:
        print("." if so_far.successes[-1] else "x", end="\n" if len(so_far.successes) % 50 == 0 else "", flush=True)
        return True

    result = Evaluator(task, args.seed, deterministic=not args.sample).evaluate(policy, args.episodes, show)
    figures = {**result.figures(), "wall_s": time.monotonic() - began}
    print(f"\n{sum(result.successes)} of {args.episodes} episodes reached the goal, policy version {policy.info.version}")
    for name, value in figures.items():
        print(f"  {name:28s} {value:.6g}")
    if args.json:
        write_figures(args.json, figures, args.seed)
    return 0


# --- demo, trials, bench, verify, experiment ---


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        demo_cli,
        "demo",
        "watch the shipped policy stack a brick and be pushed: one simulated episode, a clip, no ROS",
        """  sql-ros demo
  sql-ros demo --push 60 --at 2 --seed 3 --out runs/harder
  sql-ros demo --policy runs/latest/policy.onnx""",
    )


def _add_trials(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        trials_cli,
        "trials",
        "push, load and mislead an arm at work, and measure how it recovers",
        """  sql-ros trials --policy config/policies/sawyer_stack.onnx                        through the stack, simulated
  sql-ros trials --policy sql=a.onnx --policy sac=b.onnx --repeats 20 --out both    two policies on the same draws
  sql-ros trials --policy a.onnx --real                                            the real arm: it says whom to push, and when""",
    )


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        bench_cli,
        "bench",
        "measure this machine: gradient steps, lockstep rate, punctuality of the control loop",
        """  sql-ros bench learner --json learner.json            updates per second beside the published update and SAC
  sql-ros bench learner --sweep                        and how the cost grows with particles and batch
  sql-ros bench lockstep --json lockstep.json          control steps per second through DDS, without training
  sql-ros bench actor --seconds 60 --json actor.json   is the control loop on time, alone and beside a training learner
  sql-ros bench soak --minutes 30 --json soak.json     does memory or latency grow in a long run?""",
    )


def _add_chaos(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        chaos_cli,
        "chaos",
        "kill learner, actor and bridge at random while they train, cut their network, and count what that lost or doubled",
        """  sql-ros chaos                                        ten kills, a minute or two
  sql-ros chaos --kills 100 --seed 1 --json chaos.json --out runs/chaos
  sudo sql-ros chaos --kills 0 --cuts 10               the network between two hosts""",
    )


def _add_fuzz(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        fuzz_cli,
        "fuzz",
        "feed hostile input to everything that takes any, and count what it is answered with",
        """  sql-ros fuzz                                         ten thousand cases, exit code 1 if one crashes or hangs
  sql-ros fuzz --cases 100000 --json fuzz.json
  sql-ros fuzz --cases 5000 --only onnx_graph nodes    some targets alone""",
    )


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        verify_cli,
        "verify",
        "check the mathematics against exact answers, or the stack beside drivers of real arms",
        """  sql-ros verify                                       everything, some twenty minutes, exit code 1 if a check fails
  sql-ros verify exact temperature                     some suites
  sql-ros verify samplers --all --out verified         with the paper's variants beside ours, and a picture
  sql-ros verify drivers --json drivers.json           doubles of ros2_control drivers: a row per arm, mode and case
  sql-ros verify drivers --only ur5e/play --jobs 4     some rows""",
    )


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        train_cli,
        "train",
        "train soft Q-learning, DDPG or SAC on a Gymnasium environment, in this process and without ROS",
        """  sql-ros train sql_ros/Snake-v0 --steps 100000 --envs 4
  sql-ros train Hopper-v5 --algo sac --seed 1 --set algorithm.discount=0.99 trainer.updates_per_transition=0.5
  sql-ros train sql_ros/Snake-v0 --out runs/train/snake --resume     goes on where it was interrupted
  tensorboard --logdir runs/train                                    look at it meanwhile""",
    )


def _add_compose(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compose = _command(
        commands,
        "compose",
        "make one policy of several trained skills by the weighted sum of their Q, without further training",
        """  sql-ros compose runs/train/push_x runs/train/push_y --out both.onnx
  sql-ros compose runs/stack runs/avoid --weights 0.5 0.5 --task sawyer_stack --out careful.onnx""",
    )
    compose.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders with checkpoints/, of one temperature")
    compose.add_argument("--out", type=Path, required=True, metavar="FILE", help="the policy, ONNX")
    compose.add_argument("--weights", type=float, nargs="+", metavar="W", help="of each Q (default: the mean; 1 each makes it sharper)")
    compose.add_argument("--task", metavar="NAME", help="that the policy is for (default: that of the first run)")
    compose.set_defaults(run=_compose)


def _compose(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from sql_ros.core.export import export_composition
    from sql_ros.core.trainer import load_learner

    learners, specs = zip(*(load_learner(run / "checkpoints") for run in args.runs))
    spec = replace(specs[0], task=args.task or specs[0].task)
    for run, other in zip(args.runs[1:], specs[1:]):
        if differences := replace(spec, task=other.task).differences(json.loads(other.to_json())):
            raise ConfigError(f"{run} observes or acts otherwise than {args.runs[0]}: {differences}")
    weights = args.weights or [1.0 / len(learners)] * len(learners)
    policy = export_composition(learners, weights, spec)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_bytes(policy)
    print(f"{args.out}: {len(learners)} skills, weights {', '.join(f'{weight:g}' for weight in weights)}, task {spec.task}")
    return 0


def _add_experiment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_module(
        commands,
        experiment_cli,
        "experiment",
        "the papers' experiments, and comparisons of algorithms, each with a report",
        """  sql-ros experiment multigoal --quick                                            a few minutes
  sql-ros experiment pusher --jobs 2 --json pusher.json
  sql-ros experiment all --out docs/results --jobs 2 --resume                     every figure on one page, index.md: hours
  sql-ros experiment ablation --jobs 2                                            (needs the extra 'bench', as does stacking)
  sql-ros experiment stacking --contenders sql --seeds 0 --steps 30000            success against robot time, beside SAC and DDPG""",
    )


# --- doctor, params and keygen ---


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = _command(
        commands,
        "doctor",
        "say what is installed and works here, and what to do about what does not",
        "  sql-ros doctor          exit code 0 if training in simulation can work, 1 if not\n"
        "  sql-ros doctor --robot  the same for a robot's PC, which needs no torch",
    )
    doctor.add_argument("--robot", action="store_true", help="judge a robot's PC: what acts there, and what is on the network")
    doctor.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from sql_ros.cli.doctor import examine

    return examine(robot=args.robot)


def _add_params(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    params = _command(
        commands,
        "params",
        "list every ROS parameter: type, default, range, description",
        "  sql-ros params              of all nodes\n  sql-ros params learner      of one",
    )
    params.add_argument("node", nargs="?", help="learner, actor, sim_bridge, monitor or trials")
    params.set_defaults(run=_params)


def _params(args: argparse.Namespace) -> int:
    from sql_ros.cli.params import list_parameters

    return list_parameters(args.node)


def _add_keygen(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    keygen = _command(
        commands,
        "keygen",
        "make a key file, by which learner, actor and monitor sign what they say to each other",
        """  sql-ros keygen ~/.ros/sql_ros.key
  sql-ros up sawyer_stack key_file:=$HOME/.ros/sql_ros.key     the same file on every host, copied by a way you trust""",
    )
    keygen.add_argument("file", type=Path, help="where it goes, readable for you alone; an existing one is left as it is")
    keygen.set_defaults(run=_keygen)


def _keygen(args: argparse.Namespace) -> int:
    from sql_ros.core.keys import make_key

    make_key(args.file)
    print(f"{args.file}: give it to every stack that is to trust this one, key_file:={args.file}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
