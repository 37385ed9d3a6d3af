"""The commands of `sql-ros`. The module of a command is imported when the command runs."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

GROUPS = {
    "run": "train and run an arm",
    "arm": "bring an arm or a task",
    "learn": "learn without ROS",
    "machine": "set up this machine",
    "check": "checks and measurements",
}


@dataclass(frozen=True)
class Subcommand:
    """A command, with the texts of its `--help`.

    Attributes:
        name: Name on the command line.
        group: Group in the list of commands, a key of `GROUPS`.
        summary: Description in one line, without a capital letter and a full stop.
        examples: Pairs of a command line and its explanation, which may be empty.
        module: Module in this folder with the functions `add_arguments(parser)` and `run(args)`;
            empty: the module has the name of the command.
    """

    name: str
    group: str
    summary: str
    examples: tuple[tuple[str, str], ...]
    module: str = ""

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser of the command's arguments."""
        parser = argparse.ArgumentParser(
            prog=f"sql-ros {self.name}",
            description=self.summary[0].upper() + self.summary[1:] + ".",
            epilog="examples:\n" + aligned(self.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._import().add_arguments(parser)
        return parser

    def run(self, args: argparse.Namespace) -> int:
        """Run the command, and return its exit code.

        Args:
            args: Arguments as parsed by `parser`.

        Raises:
            SqlRosError: The input of the command is wrong; the text is one line for the user.
        """
        run: Callable[[argparse.Namespace], int] = self._import().run
        return int(run(args))

    def _import(self) -> ModuleType:
        """Import and return the module of the command."""
        return importlib.import_module(f"sql_ros.cli.{self.module or self.name}")


def aligned(examples: tuple[tuple[str, str], ...]) -> str:
    """Return text with a line per example, the explanations aligned.

    Args:
        examples: Pairs of a command line and its explanation, which may be empty.
    """
    width = 2 + max((len(command) for command, text in examples if text), default=0)
    lines = [f"  {command:{width}s}{explanation}".rstrip() for command, explanation in examples]
    return "\n".join(lines)


COMMANDS = (
    Subcommand(
        "up",
        "run",
        "start a stack: the same processes, parameters and remappings as ros2 launch",
        (
            ("sql-ros up sawyer_stack", "train sawyer_reach in lockstep, stop when it is learned"),
            (
                "sql-ros up sawyer_stack seed:=3 run_dir:=runs/third",
                "another seed, a folder of one's own",
            ),
            (
                "sql-ros up sawyer_stack --resume runs/third",
                "continue that run with its task",
            ),
            ("sql-ros up task:=ur5e_reach", "the stack's name may be left out"),
            ("sql-ros up mode:=play policy:=runs/latest/policy.onnx realtime_factor:=1", ""),
            (
                "sql-ros up sawyer_stack sim:=false",
                "the real arm's topics instead of the simulation",
            ),
            ("sql-ros up sawyer_stack --show-args", "every argument with its default"),
        ),
    ),
    Subcommand(
        "page",
        "run",
        "serve the operator's page for a running stack, such as one of ros2 launch",
        (
            ("sql-ros page", "for the shipped task sawyer_reach"),
            ("sql-ros page task:=ur5e_reach namespace:=left", "of a stack in a namespace"),
            ("sql-ros up page:=true", "starts stack and page"),
        ),
    ),
    Subcommand(
        "eval",
        "run",
        "evaluate an exported policy in simulation, without ROS",
        (
            ("sql-ros eval --policy runs/latest/policy.onnx", ""),
            ("sql-ros eval --policy runs/latest/policy.onnx --episodes 20 --json eval.json", ""),
        ),
        module="evaluate",
    ),
    Subcommand(
        "demo",
        "run",
        "film one simulated episode in which the shipped policy stacks a brick and is pushed; no"
        " ROS",
        (
            ("sql-ros demo", ""),
            ("sql-ros demo --policy runs/latest/policy.onnx --out runs/mine", ""),
        ),
    ),
    Subcommand(
        "trials",
        "run",
        "perturb an arm while a policy acts, and measure how it recovers",
        (
            (
                "sql-ros trials --policy config/policies/sawyer_stack.onnx",
                "through the stack, simulated",
            ),
            (
                "sql-ros trials --policy sql=a.onnx --policy sac=b.onnx --repeats 20 --out both",
                "two policies on the same draws",
            ),
            (
                "sql-ros trials --policy a.onnx --real",
                "the real arm: asks the operator to push it",
            ),
        ),
    ),
    Subcommand(
        "import-robot",
        "arm",
        "write the files of an arm from its description: robot, reach task, scene, picture; list"
        " every guess",
        (
            ("sql-ros import-robot panda.urdf --tool panda_hand_tcp --out my_panda", ""),
            (
                "sql-ros import-robot ur.urdf.xacro --tool tool0 --out my_ur name:=ur ur_type:=ur3",
                "a xacro with its arguments",
            ),
            (
                "sql-ros import-robot /robot_description --tool tool0 --out my_arm",
                "what the arm's driver publishes",
            ),
            ("sql-ros up task:=my_panda/panda_reach.yaml", "train it to reach, in simulation"),
        ),
        module="import_robot",
    ),
    Subcommand(
        "check-robot",
        "arm",
        "check an arm at its task: hold and step in every mode, contacts, guarded pairs, reach",
        (
            ("sql-ros check-robot my_panda/panda_reach.yaml", "exit code 1 if a check fails"),
            ("sql-ros check-robot ur5e_reach --picture ur5e.png", ""),
        ),
        module="check_robot",
    ),
    Subcommand(
        "new-task",
        "arm",
        "write the files of a task of your own, to be changed: code, settings, scene and a test",
        (
            ("sql-ros new-task push", "for the shipped UR5e, in the folder push"),
            (
                "sql-ros new-task lab/push --like my_panda/panda_reach.yaml",
                "for an arm of your own",
            ),
            ("sql-ros up task:=push/push.yaml", "train it, in simulation"),
        ),
        module="new_task",
    ),
    Subcommand(
        "train",
        "learn",
        "train soft Q-learning, DDPG or SAC on a Gymnasium environment, in this process and"
        " without ROS",
        (
            ("sql-ros train sql_ros/Snake-v0 --steps 100000 --set run.envs=4", ""),
            ("sql-ros train Hopper-v5 --algo sac --seed 1 --set algorithm.discount=0.99", ""),
            (
                "sql-ros train sql_ros/Snake-v0 --out runs/train/snake --resume",
                "continue an interrupted training",
            ),
            ("sql-ros train my_lab:Crane-v0", "an environment that ./my_lab.py registers"),
            ("sql-ros train my_panda/panda_reach.yaml", "the task of an arm"),
            ("tensorboard --logdir runs/train", "watch the curves"),
        ),
    ),
    Subcommand(
        "compose",
        "learn",
        "compose one policy of several trained skills by the weighted sum of their Q-functions,"
        " without further training",
        (
            (
                "sql-ros train sql_ros/Pusher-x-v0 --out runs/train/push_x",
                "the first skill; likewise train Pusher-y-v0 with --out runs/train/push_y",
            ),
            ("sql-ros compose runs/train/push_x runs/train/push_y --out both.onnx", ""),
            (
                "sql-ros compose runs/train/push_x runs/train/push_y --weights 0.8 0.2"
                " --out mostly_x.onnx",
                "",
            ),
        ),
    ),
    Subcommand(
        "experiment",
        "learn",
        "the papers' experiments, and comparisons of algorithms, each with a report",
        (
            ("sql-ros experiment multigoal --quick", "a few minutes"),
            ("sql-ros experiment pusher --jobs 2", ""),
            (
                "sql-ros experiment all --out docs/results --jobs 2 --resume",
                "every figure on one page, index.md: hours",
            ),
            ("sql-ros experiment ablation --jobs 2", "(needs the extra 'bench', as does stacking)"),
            (
                "sql-ros experiment stacking --contenders sql --seeds 0 --steps 30000",
                "success against robot time, beside SAC and DDPG",
            ),
        ),
    ),
    Subcommand(
        "doctor",
        "machine",
        "check what is installed and works on this machine, with advice for what does not",
        (
            ("sql-ros doctor", "exit code 0 if training in simulation can work, 1 if not"),
            ("sql-ros doctor --robot", "the same for a robot's PC, which needs no torch"),
        ),
    ),
    Subcommand(
        "params",
        "machine",
        "list every ROS parameter: type, default, range, description",
        (
            ("sql-ros params", "of all nodes"),
            ("sql-ros params learner", "of one"),
        ),
    ),
    Subcommand(
        "keygen",
        "machine",
        "make a key file, with which learner, actor and monitor sign their messages",
        (
            ("sql-ros keygen ~/.ros/sql_ros.key", ""),
            (
                "sql-ros up sawyer_stack key_file:=$HOME/.ros/sql_ros.key",
                "the same file on every host",
            ),
        ),
    ),
    Subcommand(
        "verify",
        "check",
        "check the mathematics against exact answers, or the stack beside simulated drivers",
        (
            ("sql-ros verify", "all suites, about twenty minutes; exit code 1 if a check fails"),
            ("sql-ros verify exact temperature", "some suites"),
            (
                "sql-ros verify samplers --all --out verified",
                "also the paper's variants, and a picture",
            ),
            (
                "sql-ros verify drivers --json drivers.json",
                "simulated ros2_control drivers: one row per arm, mode and case",
            ),
            ("sql-ros verify drivers --only ur5e/play --jobs 4", "some rows"),
        ),
    ),
    Subcommand(
        "bench",
        "check",
        "measure this machine: gradient steps, lockstep rate, timing of the control loop",
        (
            (
                "sql-ros bench learner --json learner.json",
                "updates per second beside the published update and SAC",
            ),
            ("sql-ros bench learner --sweep", "and how the cost grows with particles and batch"),
            (
                "sql-ros bench lockstep --json lockstep.json",
                "control steps per second through DDS, without training",
            ),
            (
                "sql-ros bench actor --seconds 60 --json actor.json",
                "timing of the control loop, alone and beside a training learner",
            ),
            (
                "sql-ros bench soak --minutes 30 --json soak.json",
                "growth of memory and latency in a long run",
            ),
        ),
    ),
    Subcommand(
        "chaos",
        "check",
        "kill and cut off a training stack at random, and count lost and doubled transitions",
        (
            ("sql-ros chaos", "ten kills, a minute or two"),
            ("sql-ros chaos --kills 100 --seed 1 --json chaos.json --out runs/chaos", ""),
            ("sudo sql-ros chaos --kills 0 --cuts 10", "the network between two hosts"),
        ),
    ),
    Subcommand(
        "fuzz",
        "check",
        "feed hostile input to every part that takes input, and count crashes",
        (
            ("sql-ros fuzz", "ten thousand cases; exit code 1 if one crashes or hangs"),
            ("sql-ros fuzz --cases 100000 --json fuzz.json", ""),
        ),
    ),
)
