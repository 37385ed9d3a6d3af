"""Every option with its reason: who needs another value than the default.

An option without a reason is not added, and the reason goes with its option.
"""

from sql_ros.cli.commands import COMMANDS
from sql_ros.nodes.declared import CONFIGS, declared_by
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS

BY_STACK = "the stack's description sets it from a launch argument"
OF_ABLATION = "the documented ablation compares its values (docs/learner.md)"
OF_PAPER = "the papers' experiments use their own values (experiments/paper)"
OF_SIZE = "tasks and tests of other sizes set it (config/params, experiments)"
OF_ARM = "a real arm's driver or network needs another value (docs/safety.md, docs/ur5e.md)"
OF_TIMING = "high control rates on a loaded machine (docs/timing.md)"

PARAMETERS = {
    "actor_id": "several actors feed one learner (docs/reliability.md)",
    "algorithm.annealing_updates": "the papers' experiments anneal the temperature",
    "algorithm.bandwidth": OF_ABLATION,
    "algorithm.batch_size": OF_SIZE,
    "algorithm.device": "a GPU (docs/learner.md)",
    "algorithm.discount": OF_PAPER,
    "algorithm.final_temperature": "the papers' experiments anneal to it",
    "algorithm.fixed_particles": OF_ABLATION,
    "algorithm.hidden_sizes": OF_SIZE,
    "algorithm.kind": "DDPG and SAC are compared with soft Q-learning (experiments)",
    "algorithm.layer_norm": "config/params/sawyer_stack.yaml uses it",
    "algorithm.minimum_of": "the documented ablation of the minimum (docs/results)",
    "algorithm.noise_skip": OF_ABLATION,
    "algorithm.particle_precision": "bench learner compares float32 and bfloat16 (docs/learner.md)",
    "algorithm.q_learning_rate": OF_PAPER,
    "algorithm.q_networks": OF_ABLATION,
    "algorithm.sampler": OF_ABLATION,
    "algorithm.sampler_learning_rate": OF_PAPER,
    "algorithm.target_entropy": "temperature tuned to an entropy (verify temperature)",
    "algorithm.target_rate": OF_PAPER,
    "algorithm.target_update": "the papers copy target networks, ours average them",
    "algorithm.temperature": OF_PAPER,
    "algorithm.temperature_learning_rate": "temperature tuned to an entropy (verify temperature)",
    "algorithm.temperature_mode": "temperature tuned to an entropy (verify temperature)",
    "algorithm.uniform_particles": OF_ABLATION,
    "algorithm.updated_particles": OF_ABLATION,
    "algorithm.value_particles": OF_SIZE,
    "algorithm.value_proposal": OF_ABLATION,
    "autostart": "an external lifecycle manager activates the nodes (docs/stack.md)",
    "by_hand": BY_STACK,
    "checkpoint_period_s": "chaos and tests look at the last checkpoint",
    "command": BY_STACK,
    "compares_description": BY_STACK,
    "cpu": OF_TIMING,
    "csv": BY_STACK,
    "dry_run": BY_STACK,
    "enable_robot": "Intera's motors are off after a start (docs/sawyer.md)",
    "enable_timeout_s": "a deadman's switch of the cell (docs/safety.md)",
    "evaluation_episodes": "tests and chaos evaluate fewer episodes",
    "evaluation_period": "chaos evaluates nothing; short trainings evaluate often",
    "explores": "a real arm must not explore at first (docs/ur5e.md)",
    "follows_clock": BY_STACK,
    "identify": BY_STACK,
    "joint_prefix": BY_STACK,
    "key_file": BY_STACK,
    "learner_patience_s": "an actor without a learner, as in bench lockstep",
    "lock_timeout_s": "a lock topic of the cell (docs/safety.md)",
    "max_clock_age_s": OF_ARM,
    "max_lateness_s": OF_ARM,
    "max_state_age_s": OF_ARM,
    "max_state_delay_s": OF_ARM,
    "mode": BY_STACK,
    "most_transitions": BY_STACK,
    "people_in_reach": BY_STACK,
    "policy": BY_STACK,
    "policy_period_s": "bench actor swaps its policy every second",
    "protocol": BY_STACK,
    "real_arm": BY_STACK,
    "realtime_factor": BY_STACK,
    "realtime_priority": OF_TIMING,
    "repeats": BY_STACK,
    "resume": BY_STACK,
    "run_dir": BY_STACK,
    "seed": BY_STACK,
    "session": BY_STACK,
    "state_rate_hz": "bench actor and chaos simulate other drivers",
    "stops_on_success": "chaos and long trainings go on after a success",
    "success_threshold": "a user's task may be harder or easier (config/sawyer_stack.yaml)",
    "switch_controllers": BY_STACK,
    "targets": BY_STACK,
    "task": BY_STACK,
    "temperature": "act more or less randomly with one policy (docs/stack.md)",
    "threads": "a learner with cores of its own (docs/learner.md)",
    "trainer.replay_capacity": "a learner with little memory (stack/preflight.py names it)",
    "trainer.updates_per_transition": "slower machines, other tasks (config/params)",
    "trainer.warmup_transitions": OF_SIZE,
    "weights": BY_STACK,
}
ARGUMENTS = {
    "autostart": "an external lifecycle manager activates the nodes",
    "by_hand": "an operator pushes the simulated arm (sql-ros trials --by-hand)",
    "command_topic": "a controller of another name (docs/your_arm.md)",
    "compares_description": "an arm whose robot_description is wrong",
    "control_cpu": OF_TIMING,
    "dry_run": "the first start with a real arm",
    "enclaves": "DDS Security (config/security)",
    "identify": "an arm that must not move before its task, or that was changed",
    "joint_prefix": "two arms on one network",
    "key_file": "signed transitions and policies between hosts",
    "log_level": "debugging",
    "mode": "train, play or trials",
    "most_transitions": "experiments of a given length",
    "namespace": "two stacks on one network",
    "page": "a browser beside the arm (docs/page.md)",
    "params_file": "parameters of a user",
    "people_in_reach": "a cell without a fence",
    "policy": "play and trials",
    "protocol": "trials of a user",
    "realtime_factor": "watch a simulated training; play faster than real time",
    "repeats": "shorter trials",
    "resume": "continue a training",
    "run_dir": "continue a training; a folder of one's own",
    "seed": "repetitions of an experiment",
    "sim": "the real arm",
    "switch_controllers": "a driver that starts with another controller",
    "targets": "goals from another node",
    "task": "another task",
    "use_sim_time": "an arm in another simulator",
    "weights": "skills that act together (docs/stack.md)",
}
FIGURES = "figures for scripts"
REPEAT = "another draw"
FLAGS = {
    "bench --batch": "the shipped sizes (docs/learner.md)",
    "bench --json": FIGURES,
    "bench --minutes": "length of a soak",
    "bench --rates": "the rate of one's own arm (docs/timing.md)",
    "bench --seconds": "length of a measurement",
    "bench --sweep": "documented cost by size (docs/results)",
    "bench --task": "one's own task",
    "bench --threads": "the cores of one's own machine",
    "bench --value-particles": "the shipped sizes (docs/learner.md)",
    "bench --width": "the shipped sizes (docs/learner.md)",
    "chaos --cuts": "network cuts need root",
    "chaos --json": FIGURES,
    "chaos --kills": "length of the run",
    "chaos --out": "look at the run of a failure",
    "chaos --seed": REPEAT,
    "compose --out": "the file to write",
    "compose --task": "the composed task has a name of its own",
    "compose --weights": "skills of unequal weight",
    "demo --out": "a folder of one's own",
    "demo --policy": "a policy of one's own",
    "doctor --robot": "a robot's PC needs no torch",
    "demo --task": "the policy of an arm of one's own",
    "check-robot --picture": "a look at the arm in its scene",
    "import-robot --out": "the folder of the files",
    "import-robot --prefix": "two arms of one driver (docs/your_arm.md)",
    "import-robot --tool": "the description has several candidates (docs/your_arm.md)",
    "new-task --like": "the task of an arm of one's own (docs/your_task.md)",
    "eval --episodes": "a quick look",
    "eval --json": FIGURES,
    "eval --policy": "the policy to evaluate",
    "eval --seed": REPEAT,
    "eval --task": "a task file at another path",
    "experiment --contenders": "a part of the comparison",
    "experiment --evaluate-every": "documented experiment on stacking",
    "experiment --jobs": "the cores of one's own machine",
    "experiment --out": "a folder of one's own",
    "experiment --quick": "a few minutes instead of hours",
    "experiment --report-only": "write the report of runs again",
    "experiment --resume": "continue an interrupted experiment",
    "experiment --seeds": "more or fewer repetitions",
    "experiment --steps": "shorter runs",
    "fuzz --cases": "length of the run",
    "fuzz --json": FIGURES,
    "fuzz --seed": REPEAT,
    "train --algo": "SAC and DDPG beside soft Q-learning",
    "train --out": "a folder of one's own",
    "train --params": "settings from a file",
    "train --resume": "continue an interrupted training",
    "train --seed": REPEAT,
    "train --set": "a setting of the algorithm",
    "train --steps": "length of the training",
    "trials --by-hand": "an operator pushes the simulated arm",
    "trials --in-process": "trials without ROS",
    "trials --json": FIGURES,
    "trials --out": "a folder of one's own",
    "trials --policy": "the policies to compare",
    "trials --protocol": "perturbations of one's own",
    "trials --real": "the real arm",
    "trials --repeats": "shorter trials",
    "trials --seed": REPEAT,
    "trials --task": "a task file at another path",
    "up --json": FIGURES,
    "up --resume": "continue a training in one word",
    "up --show-args": "list the launch arguments",
    "verify --all": "the paper's variants for comparison",
    "verify --count": "length of the check of stops",
    "verify --jobs": "the cores of one's own machine",
    "verify --json": FIGURES,
    "verify --only": "one case while it is repaired",
    "verify --out": "reports and logs of a failure",
    "verify --seed": REPEAT,
}


def _difference(declared: set[str], reasons: dict[str, str]) -> dict[str, set[str]]:
    return {"without a reason": declared - set(reasons), "gone": set(reasons) - declared}


def test_every_ros_parameter_has_a_reason():
    declared = {name for node in CONFIGS for name in declared_by(node)}
    assert _difference(declared, PARAMETERS) == {"without a reason": set(), "gone": set()}


def test_every_launch_argument_has_a_reason():
    declared = {argument.name for argument in SAWYER_STACK_ARGUMENTS}
    assert _difference(declared, ARGUMENTS) == {"without a reason": set(), "gone": set()}


def test_every_command_line_flag_has_a_reason():
    declared = {
        f"{command.name} {word}"
        for command in COMMANDS
        for action in command.parser()._actions
        for word in action.option_strings
        if word.startswith("--") and word != "--help"
    }
    assert _difference(declared, FLAGS) == {"without a reason": set(), "gone": set()}


def test_every_reason_is_one_line():
    for reasons in (PARAMETERS, ARGUMENTS, FLAGS):
        assert all(reason and "\n" not in reason for reason in reasons.values())
