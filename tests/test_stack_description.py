"""The one description behind `ros2 launch` and `sql-ros up`, and the launch file that reads it."""

import ast
import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sql_ros.common.errors import ConfigError
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS, check_names
from sql_ros.stack.description import lock_run_dir, ros_arguments, sawyer_stack

ROOT = Path(__file__).parents[1]
LAUNCH_FILE = ROOT / "launch" / "sawyer_stack.launch.py"


def _nodes(**arguments: str) -> dict[str, object]:
    return {process.executable: process for process in sawyer_stack(arguments).processes}


def test_training_in_simulation_is_four_processes_in_lockstep():
    nodes = _nodes()
    assert set(nodes) == {"learner", "sim_bridge", "actor", "monitor"}
    assert {
        name: node.parameters["realtime_factor"]
        for name, node in nodes.items()
        if name != "monitor"
    } == {
        "learner": 0.0,
        "sim_bridge": 0.0,
        "actor": 0.0,
    }
    assert nodes["actor"].remappings == {"commands": "sim_bridge/commands"}
    assert nodes["actor"].parameters["use_sim_time"] is True
    # from config/sawyer_stack.yaml
    assert nodes["learner"].parameters["trainer.warmup_transitions"] == 1000


def test_a_real_arm_has_no_simulation_and_its_own_time_and_topic():
    nodes = _nodes(sim="false", command_topic="my_controller/commands")
    assert set(nodes) == {"learner", "actor", "monitor"}
    assert nodes["actor"].parameters["realtime_factor"] == 1.0
    assert nodes["actor"].parameters["use_sim_time"] is False
    assert nodes["actor"].remappings == {"commands": "my_controller/commands"}


@pytest.mark.parametrize(
    ("sim", "given", "follows", "real"),
    [("true", "", False, False), ("false", "", True, True), ("false", "true", True, False)],
)
def test_only_a_foreign_clock_is_followed(sim, given, follows, real):
    """And an arm whose time is simulated is none that the report calls real."""
    nodes = _nodes(sim=sim, use_sim_time=given, command_topic="commands" if sim == "false" else "")
    assert nodes["actor"].parameters["use_sim_time"] is (sim == "true" or given == "true")
    assert nodes["actor"].parameters["follows_clock"] is follows
    assert nodes["monitor"].parameters["real_arm"] is real


def test_a_simulated_arm_in_a_namespace_has_a_clock_of_its_own():
    for process in _nodes(namespace="/left").values():
        assert process.remappings["/clock"] == "/left/clock"
    for other in (
        {},
        {"sim": "false", "namespace": "left", "use_sim_time": "true", "command_topic": "commands"},
    ):
        assert not [
            process for process in _nodes(**other).values() if "/clock" in process.remappings
        ]


def test_the_monitor_is_told_a_command_that_repeats_the_start():
    nodes = _nodes(sim="false", task="sawyer_reach", seed="3")
    assert (
        nodes["monitor"].parameters["command"]
        == "ros2 launch sql_ros sawyer_stack.launch.py sim:=false task:=sawyer_reach seed:=3"
    )


def test_a_real_arm_says_itself_where_it_listens_and_speaks(tmp_path):
    controller = {"name": "arm", "type": "velocity_controllers/JointGroupVelocityController"}
    robot = yaml.safe_load((ROOT / "config/robots/sawyer.yaml").read_text())
    robot |= {"controllers": {"velocity": controller | {"topic": "/arm/go"}}}
    robot |= {"state_topic": "/arm/states"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot))
    task = yaml.safe_load((ROOT / "config/tasks/sawyer_reach.yaml").read_text()) | {
        "robot": str(tmp_path / "mine.yaml")
    }
    (tmp_path / "reach.yaml").write_text(yaml.safe_dump(task))
    asked = {"task": str(tmp_path / "reach.yaml")}
    assert _nodes(sim="false", **asked)["actor"].remappings == {
        "commands": "/arm/go",
        "joint_states": "/arm/states",
    }
    assert _nodes(**asked)["actor"].remappings == {"commands": "sim_bridge/commands"}
    assert (
        _nodes(sim="false", command_topic="/other", **asked)["actor"].remappings["commands"]
        == "/other"
    )


@pytest.mark.parametrize(
    ("task", "topic"),
    [
        ("sawyer_reach", "forward_velocity_controller/commands"),
        ("sawyer_stack", "forward_effort_controller/commands"),
        ("ur5e_reach", "scaled_joint_trajectory_controller/joint_trajectory"),
    ],
)
def test_commands_go_to_the_controller_of_the_mode(task, topic):
    actor = _nodes(sim="false", dry_run="true", task=task)["actor"]
    assert actor.remappings == {"commands": topic}
    assert actor.parameters["real_arm"] is True
    assert "switch_controllers" not in actor.parameters  # nobody asked for it


def test_a_mode_without_controller_is_for_simulation_only(tmp_path):
    robot = yaml.safe_load((ROOT / "config/robots/sawyer.yaml").read_text())
    del robot["controllers"]["velocity"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot))
    task = yaml.safe_load((ROOT / "config/tasks/sawyer_reach.yaml").read_text())
    (tmp_path / "reach.yaml").write_text(
        yaml.safe_dump(task | {"robot": str(tmp_path / "mine.yaml")})
    )
    asked = {"task": str(tmp_path / "reach.yaml")}
    assert _nodes(**asked)["actor"].remappings == {"commands": "sim_bridge/commands"}
    expected = r"mine.yaml has no controller for command mode velocity .*position, torque.*; add"
    for override in ("", "/some/topic"):
        with pytest.raises(ConfigError, match=expected):
            _nodes(sim="false", command_topic=override, **asked)


def test_torques_on_a_real_arm_need_consent(tmp_path):
    for accepts in (False, True):
        robot = yaml.safe_load((ROOT / "config/robots/sawyer.yaml").read_text())
        robot["accept_effort_without_timeout"] = accepts
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot))
        task = yaml.safe_load((ROOT / "config/tasks/sawyer_stack.yaml").read_text())
        (tmp_path / "mine_stack.yaml").write_text(
            yaml.safe_dump(task | {"robot": str(tmp_path / "mine.yaml")})
        )
        asked = {"task": str(tmp_path / "mine_stack.yaml"), "sim": "false"}
        if accepts:
            assert (
                _nodes(**asked)["actor"].remappings["commands"]
                == "forward_effort_controller/commands"
            )
        else:
            with pytest.raises(
                ConfigError,
                match=r"keeps the last torque for ever: .*accept_effort_without_timeout: true",
            ):
                _nodes(**asked)


def test_autostart_and_dry_run_reach_the_nodes_they_are_for():
    nodes = _nodes(autostart="false", dry_run="true", realtime_factor="1")
    assert {name for name, node in nodes.items() if node.parameters.get("autostart") is False} == {
        "learner",
        "sim_bridge",
        "actor",
    }
    assert {name for name, node in nodes.items() if node.parameters.get("dry_run")} == {"actor"}
    with pytest.raises(ConfigError, match="dry_run:=true in lockstep"):
        _nodes(dry_run="true")


def test_playing_needs_no_learner(tmp_path):
    policy = tmp_path / "policy.onnx"
    policy.write_bytes(b"")
    nodes = _nodes(mode="play", policy=str(policy))
    assert set(nodes) == {"sim_bridge", "actor", "monitor"}
    assert nodes["actor"].parameters["policy"] == str(policy)
    assert nodes["actor"].parameters["realtime_factor"] == 1.0


def test_trials_are_an_actor_of_their_own_beside_the_simulation(tmp_path):
    policy = tmp_path / "policy.onnx"
    policy.write_bytes(b"")
    nodes = _nodes(mode="trials", policy=str(policy), task="sawyer_stack", run_dir=str(tmp_path))
    assert set(nodes) == {"sim_bridge", "trials"}
    trials = nodes["trials"]
    assert trials.remappings == {"commands": "sim_bridge/commands", "disturb": "sim_bridge/disturb"}
    assert (trials.parameters["by_hand"], trials.parameters["realtime_factor"]) == (False, 0.0)
    assert trials.parameters["csv"] == str(tmp_path / "trials.csv")
    assert trials.parameters["max_state_age_s"] == 0.1  # an actor's, from config/sawyer_stack.yaml
    assert "explores" not in trials.parameters  # of the same section, but of a training alone


def test_trials_on_a_real_arm_are_by_hand_and_at_its_pace(tmp_path):
    policy = tmp_path / "policy.onnx"
    policy.write_bytes(b"")
    given = {"mode": "trials", "policy": str(policy), "sim": "false"}
    nodes = _nodes(**given)
    assert set(nodes) == {"trials"}
    assert (
        nodes["trials"].parameters["by_hand"],
        nodes["trials"].parameters["realtime_factor"],
    ) == (True, 1.0)
    with pytest.raises(ConfigError, match="by_hand:=false on a real arm"):
        _nodes(by_hand="false", **given)


def test_launch_arguments_win_over_the_params_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "/**:\n  ros__parameters:\n    seed: 5\nlearner:\n  ros__parameters:\n    seed: 6\n   "
        " algorithm: {temperature: 0.5}\n"
    )
    nodes = _nodes(params_file=str(path), seed="7")
    assert nodes["learner"].parameters["seed"] == 7
    assert nodes["learner"].parameters["algorithm.temperature"] == 0.5


@pytest.mark.parametrize(
    "content", ["learner: {threads: 1}", "learner:\n  ros__parameters: 3", "- 1", "a: b: c"]
)
def test_a_params_file_of_another_form_is_refused(tmp_path, content):
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"odd\.yaml"):
        sawyer_stack({"params_file": str(path)})


def test_strings_reach_ros_as_strings():
    stack = sawyer_stack({"namespace": "arm", "log_level": "warn", "run_dir": "/tmp/it's"})
    (learner,) = (p for p in stack.processes if p.executable == "learner")
    arguments = ros_arguments(learner, stack)
    assert arguments[:5] == ["--ros-args", "--log-level", "warn", "-r", "__node:=learner"]
    assert "__ns:=/arm" in arguments
    assert "run_dir:='/tmp/it''s'" in arguments
    assert "algorithm.hidden_sizes:=[128, 128]" in arguments
    assert "resume:=false" in arguments


def test_the_launch_file_declares_the_arguments_that_the_issue_names():
    names = {argument.name for argument in SAWYER_STACK_ARGUMENTS}
    wanted = (
        "sim task mode policy realtime_factor namespace params_file use_sim_time run_dir seed"
        " log_level"
    )
    assert set(wanted.split()) <= names
    assert all(len(argument.description) > 5 for argument in SAWYER_STACK_ARGUMENTS)


def test_the_launch_file_uses_the_shared_description_and_stable_api_only():
    """Structure only: launch_ros is not to be had everywhere.

    Where it is, the test below executes the file.
    """
    tree = ast.parse(LAUNCH_FILE.read_text())
    imported = {
        (n.module, a.name) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    assert imported == {
        ("launch", "LaunchDescription"),
        ("launch.actions", "DeclareLaunchArgument"),
        ("launch.actions", "LogInfo"),
        ("launch.actions", "OpaqueFunction"),
        ("launch.actions", "RegisterEventHandler"),
        ("launch.actions", "Shutdown"),
        ("launch.event_handlers", "OnProcessIO"),
        ("launch.substitutions", "LaunchConfiguration"),
        ("launch_ros.actions", "Node"),
        ("launch_ros.parameter_descriptions", "ParameterValue"),
        ("sql_ros.common.child_process", "ACTIVE"),
        ("sql_ros.common.child_process", "PARENT"),
        ("sql_ros.stack.arguments", "SAWYER_STACK_ARGUMENTS"),
        ("sql_ros.stack.arguments", "check_names"),
        ("sql_ros.stack.description", "lock_run_dir"),
        ("sql_ros.stack.launched", "append_to_log"),
        ("sql_ros.stack.launched", "end_on_sigterm"),
        ("sql_ros.stack.preflight", "preflight"),
        ("sql_ros.stack.refusal", "is_refusal"),
        ("sql_ros.stack.refusal", "remove_run_dir"),
        ("sql_ros.stack.restarts", "Restarts"),
    }
    assert (
        "[OpaqueFunction(function=_check), *arguments, OpaqueFunction(function=_nodes)]"
        in ast.unparse(tree)
    )  # before the defaults
    (node,) = (
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Node"
    )
    keywords = {keyword.arg for keyword in node.keywords}
    assert {
        "package",
        "executable",
        "name",
        "namespace",
        "parameters",
        "remappings",
        "respawn",
        "on_exit",
        "additional_env",
    } <= keywords
    assert any(
        isinstance(n, ast.FunctionDef) and n.name == "generate_launch_description"
        for n in tree.body
    )


WITH_LAUNCH = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None,
    reason="launch_ros is not on PyPI; the structural test stands in",
)


def _launch_module():
    spec = importlib.util.spec_from_file_location("sawyer_stack_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@WITH_LAUNCH
def test_the_launch_file_starts_what_the_description_says(tmp_path):
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch_ros.actions import Node

    from launch import LaunchContext

    description, context = _launch_module().generate_launch_description(), LaunchContext()
    context.launch_configurations["run_dir"] = str(tmp_path)
    declared = [
        entity for entity in description.entities if isinstance(entity, DeclareLaunchArgument)
    ]
    assert {
        d.name: d.description.partition(" Valid choices")[0].removesuffix(".") for d in declared
    } == {a.name: a.description for a in SAWYER_STACK_ARGUMENTS}
    check, function = (
        entity for entity in description.entities if isinstance(entity, OpaqueFunction)
    )
    for entity in (check, *declared):
        entity.execute(context)
    nodes = [entity for entity in function.execute(context) if isinstance(entity, Node)]
    assert [node.node_executable for node in nodes] == [
        process.executable for process in sawyer_stack({}).processes
    ]


@WITH_LAUNCH
def test_the_launch_file_leaves_to_the_params_file_what_nobody_gave(tmp_path, monkeypatch):
    from launch import LaunchContext

    params = tmp_path / "mine.yaml"
    protection = {
        "dry_run": True,
        "people_in_reach": True,
        "autostart": False,
        "targets": "goal",
        "seed": 5,
    }
    params.write_text(yaml.safe_dump({"actor": {"ros__parameters": protection}}))
    module, context = _launch_module(), LaunchContext()
    make_node, started = module._node, []
    monkeypatch.setattr(
        module, "_node", lambda process, stack: started.append(process) or make_node(process, stack)
    )
    given = {
        "sim": "false",
        "mode": "play",
        "policy": "sawyer_stack",
        "seed": "7",
        "dry_run": "false",
    }
    given |= {"params_file": str(params), "run_dir": str(tmp_path / "run")}
    context.launch_configurations.update(given)
    for entity in module.generate_launch_description().entities:
        entity.execute(context)
    (actor,) = (process for process in started if process.executable == "actor")
    expected = protection | {"seed": 7}
    assert {name: actor.parameters[name] for name in protection} == expected


@WITH_LAUNCH
def test_the_launch_file_starts_nothing_where_an_argument_is_misspelled(caplog):
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription, LaunchService

    given = {"sim": "false", "mode": "play", "policy": __file__, "dryrun": "true"}
    service = LaunchService(argv=[f"{name}:={value}" for name, value in given.items()])
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given.items())])
    )
    assert service.run() == 1
    assert "unknown argument 'dryrun', expected one of: sim" in caplog.text
    assert "process started" not in caplog.text


@pytest.mark.parametrize("slip", ["dryrun", "dry-run", "dryRun", "dru_run", "dry", "urdf", "model"])
def test_whatever_is_typed_must_be_an_argument(slip):
    given = ["sim", slip]
    with pytest.raises(ConfigError, match=f"unknown argument '{slip}', expected one of: sim, task"):
        check_names(given, given)


def test_what_launch_itself_reads_may_be_typed():
    given = ["sim", "launch-prefix", "emulate_tty"]
    assert check_names(given, given) == []
    assert check_names([], []) == []


def test_a_launch_file_that_includes_ours_has_arguments_of_its_own_which_must_not_look_like_ours():
    own = ["model", "speed", "robot_namespace", "ros_namespace", "urdf"]
    assert check_names(["sim", *own], ["urdf"]) == sorted(own)
    for slip in ("dryrun", "dry-run", "keyfile"):
        with pytest.raises(
            ConfigError,
            match=f"unknown argument '{slip}', expected one of: sim.* including launch file",
        ):
            check_names(["sim", *own, slip], ["urdf", slip])


def test_the_actor_has_a_core_to_itself_where_one_is_named(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 3})
    nodes = _nodes(control_cpu="2")
    assert nodes["actor"].parameters["cpu"] == 2
    assert nodes["actor"].cpus == ()  # it keeps to it by itself, and says so
    assert {node.cpus for name, node in nodes.items() if name != "actor"} == {(0, 3)}
    trials = _nodes(mode="trials", policy=__file__, control_cpu="3")
    assert trials["trials"].parameters["cpu"] == 3
    assert trials["sim_bridge"].cpus == (0, 2)
    assert {node.cpus for node in _nodes().values()} == {()}
    assert "cpu" not in _nodes()["actor"].parameters


@pytest.mark.parametrize(
    ("cores", "given", "text"),
    [
        ({0, 1}, "2", "cores of this machine: 0, 1"),
        ({0, 1}, "-1", "cores of"),
        ({0}, "0", "but one"),
    ],
)
def test_a_core_that_is_not_there_is_refused(monkeypatch, cores, given, text):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: cores)
    with pytest.raises(ConfigError, match=text):
        _nodes(control_cpu=given)


def test_a_page_comes_first_and_the_stack_does_not_depend_on_it():
    processes = sawyer_stack({"page": "true", "task": "ur5e_reach"}).processes
    page, *others = processes
    assert page.executable == "page"
    assert page.parameters == {"task": "ur5e_reach"}
    assert not page.is_vital
    assert all(process.is_vital for process in others)
    assert [process.executable for process in others] == [
        process.executable for process in sawyer_stack({"task": "ur5e_reach"}).processes
    ]


@WITH_LAUNCH
def test_ros2_launch_goes_on_without_a_page_that_ended(tmp_path):
    from launch.actions import LogInfo, Shutdown

    stack = replace(sawyer_stack({"page": "true"}), run_dir=tmp_path)
    (tmp_path / "log").mkdir()
    page, monitor, *_ = stack.processes
    context = SimpleNamespace(is_shutdown=False)
    after = _launch_module()._after
    for code in (0, 1, 2):
        (what,) = after(page, stack)(SimpleNamespace(returncode=code), context)
        assert isinstance(what, LogInfo)
    (what,) = after(monitor, stack)(SimpleNamespace(returncode=0), context)
    assert isinstance(what, Shutdown)


def test_every_executable_of_the_stack_is_installed_where_launch_looks():
    for process in sawyer_stack({"page": "true"}).processes:
        script = ROOT / "scripts" / process.executable
        assert script.stat().st_mode & 0o111
        assert 'sql_ros.nodes.$(basename "$0")_node' in script.read_text()
        assert (ROOT / "sql_ros" / "nodes" / f"{process.executable}_node.py").is_file()


def test_a_task_may_bring_parameters_of_its_own_which_a_params_file_replaces(tmp_path):
    own = _nodes(task="sawyer_stack")["learner"].parameters
    base = _nodes()["learner"].parameters
    assert own["trainer.updates_per_transition"] > base["trainer.updates_per_transition"]
    assert own["algorithm.batch_size"] == base["algorithm.batch_size"]
    path = tmp_path / "mine.yaml"
    path.write_text("learner:\n  ros__parameters:\n    algorithm: {temperature: 0.5}\n")
    assert (
        "algorithm.final_temperature"
        not in _nodes(task="sawyer_stack", params_file=str(path))["learner"].parameters
    )


@pytest.mark.parametrize(
    ("given", "again"),
    [
        ({}, {"learner", "sim_bridge", "actor"}),
        ({"sim": "false"}, {"learner"}),  # no real arm begins to move again by itself
        ({"mode": "play", "policy": __file__}, set()),
    ],
)
def test_what_crashed_while_training_is_started_again(given, again):
    assert {name for name, process in _nodes(**given).items() if process.respawns} == again


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"namespace": "my-arm"}, "namespace: 'my-arm' is no name in ROS"),
        ({"namespace": "cell/7up"}, "namespace: 'cell/7up' is no name in ROS"),
        ({"namespace": "a//b"}, "namespace: 'a//b' is no name in ROS"),
        (
            {"sim": "false", "command_topic": "my-arm/commands"},
            "commands: 'my-arm/commands' is no name in ROS",
        ),
    ],
)
def test_a_name_that_ros_does_not_take_is_refused(given, text):
    with pytest.raises(ConfigError, match=text):
        sawyer_stack(given)


def test_names_that_ros_takes_are_left_as_they_are():
    assert [
        sawyer_stack({"namespace": name}).namespace for name in ("", "arm", "/cell_2/_arm", "arm/")
    ] == [
        "",
        "arm",
        "/cell_2/_arm",
        "arm",
    ]
    for topic in ("~/out", "/arm_1/out", "out"):
        assert _nodes(sim="false", command_topic=topic)["actor"].remappings == {"commands": topic}


@pytest.mark.parametrize("domain", ["abc", "999", "233", "-1", "1.5"])
def test_a_domain_that_dds_does_not_have_is_refused(monkeypatch, domain):
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    with pytest.raises(
        ConfigError, match=f"ROS_DOMAIN_ID is '{domain}', expected a whole number from 0 to 232"
    ):
        sawyer_stack({})


@pytest.mark.parametrize("domain", ["", "0", "232"])
def test_a_domain_of_dds_is_taken(monkeypatch, domain):
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    sawyer_stack({})


@pytest.mark.parametrize(
    ("of_robot", "of_task", "text"),
    [
        (
            {"joints": [f"j{n}" for n in range(7)]},
            {},
            "robot 'sawyer'.*sawyer.xml.*'j0'",
        ),
        ({"tool": "gripper"}, {}, "robot 'sawyer'.*sawyer.xml.*'gripper'"),
        ({}, {"scene": "sim/scenes/mine.xml"}, "mine.xml"),
    ],
)
def test_an_arm_or_a_scene_that_does_not_fit_is_refused_before_anything_starts(
    tmp_path, of_robot, of_task, text
):
    robot = yaml.safe_load((ROOT / "config/robots/sawyer.yaml").read_text()) | of_robot
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot))
    task = (
        yaml.safe_load((ROOT / "config/tasks/sawyer_reach.yaml").read_text())
        | {"robot": str(tmp_path / "mine.yaml")}
        | of_task
    )
    (tmp_path / "reach.yaml").write_text(yaml.safe_dump(task))
    with pytest.raises(ConfigError, match=text):
        sawyer_stack({"task": str(tmp_path / "reach.yaml")})


@pytest.mark.parametrize("folder", [__file__, f"{__file__}/run", "/proc/no/run"])
def test_a_run_dir_that_cannot_be_made_is_refused(folder):
    with pytest.raises(ConfigError, match=f"run_dir {folder} cannot be made: "):
        lock_run_dir(sawyer_stack({"run_dir": folder}))


@pytest.mark.parametrize(("given", "value"), [("True", True), ("FALSE", False), ("true", True)])
def test_true_and_false_may_be_written_in_any_case(given, value):
    assert _nodes(autostart=given)["actor"].parameters["autostart"] is value
    # launch checks them, too
    assert {given, ""} & {*SAWYER_STACK_ARGUMENTS[0].spellings} == {given}
