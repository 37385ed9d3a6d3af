"""Hostile cases for every decoder and loader: correct input, altered at random in the ways in which
input is wrong or malicious.

`altered_...` functions return an altered copy of correct input. `_alter_...` functions change an
ONNX model in place. `make_targets` connects alterations and decoders.
"""

from __future__ import annotations

import array
import copy
import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from geometry_msgs.msg import PoseStamped
from onnx import numpy_helper
from sensor_msgs.msg import JointState
from std_msgs.msg import MultiArrayDimension

from sql_ros.checks.stress.fuzz import Target
from sql_ros.common.config import config_from_mapping
from sql_ros.common.data_files import share_folder
from sql_ros.common.shared_key import make_key, read_key
from sql_ros.common.transition_log import Ledger
from sql_ros.learning.algorithm import AlgorithmConfig, TrainerConfig
from sql_ros.learning.checkpoint_manifest import checkpoints
from sql_ros.learning.export import export_policy
from sql_ros.learning.trainer import Trainer
from sql_ros.nodes import messages as m
from sql_ros.nodes.actor_config import ActorConfig
from sql_ros.nodes.claims import Claim
from sql_ros.nodes.learner_config import LearnerConfig
from sql_ros.nodes.message_signing import FollowedLearner, MessageSigner
from sql_ros.nodes.sim_bridge_node import SimBridgeConfig
from sql_ros.nodes.state_reader import StateReader
from sql_ros.policy.runtime import Policy
from sql_ros.policy.transition import Transition
from sql_ros.robot.control.step import EpisodeSummary
from sql_ros.robot.task import Task
from sql_ros.robot.tasks import load_task
from sql_ros.stack.arguments import SAWYER_STACK_ARGUMENTS
from sql_ros.stack.preflight import preflight
from sql_ros.trials.disturbance import Disturbance
from sql_ros.trials.protocol import load_protocol

Rng = np.random.Generator
NUMBERS = (
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    -1e308,
    5e-324,
    0.0,
    -1.0,
    0.5,
    2.0**53 + 2,
    2.0**63,
    3e38,
)
TEXTS = (
    "",
    "\0",
    "%s%n%x",
    "../../etc/passwd",
    "ÿ" * 50,
    "a" * 20_000,
    "{}",
    "' OR 1=1",
    "\n\n",
    "nan",
    "true",
    "-1",
    "1e999",
    "🤖",
    "!!python/object:x {}",
)
SCALARS = (
    "~",
    ".nan",
    ".inf",
    "-.inf",
    "1e999",
    "[]",
    "{}",
    "'text'",
    "0x7fffffffffffffffffff",
    "[1, [2, [3]]]",
    "&a [*a]",
    "*nowhere",
    "!!python/object/apply:os.system ['true']",
    "2026-11-22",
    "2026-99-99",
    "true",
    "-1",
    "0",
    "[.nan, .nan, .nan, .nan, .nan, .nan, .nan]",
    "a: b: c",
    '"\\x00"',
    "{a: {b: {c: 1}}}",
    "[" * 3000,
)
ALIAS_BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)),
        "kind: *a8\n",
    ]
)


def make_targets(folder: Path) -> list[Target]:
    """Return every target that is attacked in this process: messages and their signature, policies,
    YAML files, parameters, launch arguments, and files of a run. Writes the files of the attack.

    Args:
        folder: Existing folder for the files of the attack.
    """
    task = load_task("sawyer_reach")
    return [
        *_message_targets(task, folder),
        *_policy_targets(task),
        *_configuration_targets(task, folder),
        *_file_targets(task, folder),
    ]


# --- alterations ---


def altered_bytes(rng: Rng, data: bytes) -> bytes:
    """Return a file or message altered in one random way.

    Up to 16 bits are flipped, the beginning or the end is cut off, a part is repeated or
    overwritten, random bytes are inserted, or everything is replaced.

    Args:
        rng: Draws the alteration.
        data: Correct bytes; may be empty.
    """
    kind = rng.integers(8)
    size = max(len(data), 1)
    at = int(rng.integers(size))
    length = int(rng.integers(1, 1 + min(size, 4096)))
    if kind == 0:
        bits = bytearray(data or b"\0")
        for place in rng.integers(0, len(bits), rng.integers(1, 17)):
            bits[place] ^= 1 << int(rng.integers(8))
        return bytes(bits)
    parts = {
        1: data[:at],
        2: data[at:],
        3: data[:at] + rng.bytes(length) + data[at:],
        4: data[:at] + data[at : at + length] * 3 + data[at + length :],
        5: data[:at] + bytes([int(rng.choice([0, 255]))]) * length + data[at + length :],
        6: rng.bytes(length),
        7: (
            b"",
            b"PK\x03\x04" + rng.bytes(64),
            b"\x1f\x8b\x08" + rng.bytes(64),
            b"\x80\x04cos\nsystem\n",
        )[rng.integers(4)],
    }
    return parts[int(kind)]


def altered_text(rng: Rng, text: str) -> str:
    """Return a text altered in one random way: cut off, a character inserted, doubled, in upper
    case, or replaced by one of `TEXTS`.

    Args:
        rng: Draws the alteration.
        text: Correct text; may be empty.
    """
    at = int(rng.integers(len(text) + 1))
    options = (
        text[:at],
        text[:at] + chr(int(rng.integers(1, 0xD7FF))) + text[at:],
        text + text,
        text.upper(),
        TEXTS[rng.integers(len(TEXTS))],
    )
    return options[rng.integers(len(options))]


def altered_numbers(rng: Rng, values: Any) -> Any:
    """Return the numbers of a message with hostile values, another length, or both.

    Args:
        rng: Draws the alteration.
        values: Numbers of a message, an `array.array` or a list.

    Returns:
        An `array.array` of the same type code; "d" for a list.
    """
    code = values.typecode if isinstance(values, array.array) else "d"
    data = list(values)
    kind = rng.integers(4)
    if kind == 0:
        data = data[: rng.integers(len(data) + 1)]
    elif kind == 1:
        data = data * int(rng.integers(2, 5)) + data[: rng.integers(len(data) + 1)]
    elif kind == 2:
        data = [0] * int(rng.integers(20_000))
    for place in rng.integers(0, len(data), rng.integers(0, 9)) if data else ():
        data[place] = (
            float(rng.choice(NUMBERS))
            if code in "fd"
            else int(rng.integers(0, 256 if code == "B" else 2**63))
        )
    return array.array(code, data)


def altered_array_message(rng: Rng, message: Any) -> Any:
    """Return a copy of a multi-array message with other labels, sizes, dimensions or data.

    The data offset of the layout is always random.

    Args:
        rng: Draws one to three alterations.
        message: A `std_msgs` multi-array message of any type of number.
    """
    message = copy.deepcopy(message)
    dimensions = list(message.layout.dim)
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(6)
        if kind == 0 and dimensions:
            dimension = dimensions[rng.integers(len(dimensions))]
            dimension.label = altered_text(rng, dimension.label)
        elif kind == 1:
            dimensions = dimensions[: rng.integers(len(dimensions) + 1)]
        elif kind == 2:
            dimensions += [
                MultiArrayDimension(
                    label=TEXTS[rng.integers(len(TEXTS))], size=int(rng.integers(2**32))
                )
            ] * int(rng.integers(50))
        elif kind == 3 and dimensions:
            dimensions[0].size, dimensions[0].stride = (
                int(value) for value in rng.integers(0, 2**32, 2)
            )
        else:
            message.data = altered_numbers(rng, message.data)
    message.layout.dim = dimensions
    message.layout.data_offset = int(rng.integers(2**32))
    return message


def altered_state(rng: Rng, message: JointState) -> JointState:
    """Return a copy of joint states with other names, orders, lengths, values or stamps.

    Args:
        rng: Draws one to three alterations.
        message: Correct joint states.
    """
    message = copy.deepcopy(message)
    for _ in range(rng.integers(1, 4)):
        name = ("position", "velocity", "effort", "name", "name", "stamp")[rng.integers(6)]
        if name == "stamp":
            message.header.stamp.sec = int(rng.integers(-(2**31), 2**31))
            message.header.stamp.nanosec = int(rng.integers(2**32))
        elif name == "name":
            names = list(message.name)
            rng.shuffle(names)
            message.name = (
                names,
                names[1:],
                names * 2,
                [altered_text(rng, text) for text in names],
                [],
            )[rng.integers(5)]
        else:
            setattr(message, name, altered_numbers(rng, getattr(message, name)))
    return message


def altered_pose(rng: Rng, message: PoseStamped) -> PoseStamped:
    """Return a copy of a target with one coordinate from `NUMBERS` and another name of the frame.

    Args:
        rng: Draws the alteration.
        message: Correct target.
    """
    message = copy.deepcopy(message)
    setattr(message.pose.position, "xyz"[rng.integers(3)], float(rng.choice(NUMBERS)))
    message.header.frame_id = altered_text(rng, message.header.frame_id)
    return message


def altered_yaml(rng: Rng, text: str) -> bytes:
    """Return a YAML file with other values, keys, lines or bytes, or with aliases that expand to
    9^8 lists.

    Args:
        rng: Draws the alteration.
        text: Correct file, at least one line.

    Returns:
        The bytes of the file, not always valid UTF-8.
    """
    kind = rng.integers(6)
    if kind == 0:
        return altered_bytes(rng, text.encode())
    if kind == 1:
        return (ALIAS_BOMB + (text if rng.random() < 0.5 else "")).encode()
    lines = text.splitlines()
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(lines)))
        key = lines[place].split(":")[0]
        new = (
            f"{key}: {SCALARS[rng.integers(len(SCALARS))]}",
            "",
            f"{altered_text(rng, key)}: 1",
            lines[place] * 2,
            "\t" + lines[place],
        )
        lines[place] = new[rng.integers(len(new))]
    return "\n".join(lines).encode("utf-8", "replace")


def altered_value(rng: Rng) -> Any:
    """Return a random value for a parameter, of any type and size; lists and mappings may be
    nested.

    Args:
        rng: Draws the value.
    """
    options: tuple[Callable[[], Any], ...] = (
        lambda: float(rng.choice(NUMBERS)),
        lambda: int(rng.integers(-(2**63), 2**63)),
        lambda: TEXTS[rng.integers(len(TEXTS))],
        lambda: bool(rng.integers(2)),
        lambda: None,
        lambda: [altered_value(rng) for _ in range(rng.integers(4))],
        lambda: {"a": altered_value(rng)},
        lambda: rng.bytes(8),
        lambda: 10**400,
    )
    return options[rng.integers(len(options))]()


# --- targets ---


def sound_messages(task: Task) -> dict[str, Any]:
    """Return one correct message of every kind, by the name of the kind.

    Args:
        task: Gives sizes, joint names, frame and command mode.
    """
    spec = task.spec
    robot = task.robot
    observation = np.zeros(spec.observation_size, np.float32)
    action = np.zeros(spec.action_size, np.float32)
    entry = m.ReplayEntry(
        0, 7, 1, 1, 1, 0, Transition(observation, action, 0.5, observation, False, False)
    )
    zeros = np.zeros(len(robot.joints))
    return {
        "transition": m.TransitionCodec(spec).to_msg(entry),
        "policy": m.policy_to_msg(b"a file"),
        "progress": m.progress_to_msg(m.Progress(1, 2, 3, {7: 1})),
        "claim": m.claim_to_msg(Claim("/actor", "/commands", "12", 1, 2, "3 on here")),
        "episode": m.episode_to_msg(EpisodeSummary(1, 2, 3, 4.0, True, 0.1, 1)),
        "command": m.command_to_msg(zeros, spec.command_mode, robot.wire_joints, 50_000_000),
        "disturbance": m.disturbance_to_msg(
            Disturbance("push", 20.0, "right_l5", (1.0, 0.0, 0.0), 0.2, 0.1)
        ),
        "state": m.state_to_msg(
            50_000_000, robot.wire_joints, np.array(robot.neutral_position), zeros, zeros
        ),
        "target": m.target_to_msg(np.array([0.6, 0.0, 0.2]), 0, robot.wire_base_frame),
    }


def altered_message(rng: Rng, message: Any) -> Any:
    """Return an altered copy of a message, by the alterations for its type.

    Args:
        rng: Draws the alteration.
        message: A message of `sound_messages`.
    """
    if isinstance(message, JointState):
        return altered_state(rng, message)
    return (
        altered_pose(rng, message)
        if isinstance(message, PoseStamped)
        else altered_array_message(rng, message)
    )


def _message_targets(task: Task, folder: Path) -> list[Target]:
    """Return the targets that decode a message, one per kind, and the target that checks a
    signature.

    Args:
        task: Gives sizes and joint names.
        folder: Folder for the key file, which is written as `key`.
    """
    sound = sound_messages(task)
    codec = m.TransitionCodec(task.spec)
    reader = StateReader(task.robot.wire_joints)
    make_key(folder / "key")
    signer = MessageSigner(str(folder / "key"))
    followed = FollowedLearner(signer)
    followed.verify_progress(signer.sign(copy.deepcopy(sound["progress"]), 5))

    def verify_altered_signature(rng: Rng) -> None:
        """Alter a signed policy message and verify its signature."""
        message = altered_array_message(rng, signer.sign(copy.deepcopy(sound["policy"]), 5))
        followed.verify_policy(message)

    readers: dict[str, Callable[[Any], object]] = {
        "transition": codec.from_msg,
        "policy": m.policy_from_msg,
        "progress": m.progress_from_msg,
        "claim": m.claim_from_msg,
        "episode": m.episode_from_msg,
        "command": lambda message: m.command_from_msg(
            message, task.spec.command_mode, task.robot.wire_joints
        ),
        "disturbance": m.disturbance_from_msg,
        "state": reader.read,
        "target": lambda message: m.target_from_msg(message, task.robot.wire_base_frame),
    }

    def message_target(name: str) -> Target:
        """Return the target that decodes altered messages of a kind."""
        return Target(
            f"message_{name}", 6.0, lambda rng: readers[name](altered_message(rng, sound[name]))
        )

    return [
        *(message_target(name) for name in readers),
        Target("signature", 6.0, verify_altered_signature),
    ]


def _policy_targets(task: Task) -> list[Target]:
    """Return the two targets that load a policy: from altered bytes, and from a graph with one part
    altered.

    Args:
        task: Gives the interface of the policy.
    """
    trainer = Trainer(task.spec, TrainerConfig(), AlgorithmConfig(hidden_sizes=(16, 16)), 0)
    data = export_policy(trainer.learner, task.spec, 1, "")[0]
    return [
        Target("onnx_bytes", 8.0, lambda rng: Policy(altered_bytes(rng, data), task.spec)),
        Target("onnx_graph", 4.0, lambda rng: Policy(altered_graph(rng, data), task.spec)),
    ]


def altered_graph(rng: Rng, data: bytes) -> bytes:
    """Return an ONNX file with one part of its graph altered at random by one of the `_alter_...`
    functions.

    Args:
        rng: Draws the alteration.
        data: Correct ONNX file.
    """
    model = onnx.load_model_from_string(data)
    alterations = (
        _alter_operator,
        _alter_domain,
        _alter_location,
        _alter_size,
        _alter_weight,
        _alter_metadata,
        _alter_edge,
        _alter_input_size,
        _alter_attributes,
    )
    alterations[rng.integers(len(alterations))](rng, model)
    return bytes(model.SerializeToString())


def _any_node(rng: Rng, model: Any) -> Any:
    """Return a random node of the model's graph."""
    return model.graph.node[rng.integers(len(model.graph.node))]


def _any_tensor(rng: Rng, model: Any) -> Any:
    """Return a random initializer (weight tensor) of the model's graph."""
    return model.graph.initializer[rng.integers(len(model.graph.initializer))]


def _alter_operator(rng: Rng, model: Any) -> None:
    """Replace the operator of a node by any operator of ONNX."""
    operators = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
    _any_node(rng, model).op_type = operators[rng.integers(len(operators))]


def _alter_domain(rng: Rng, model: Any) -> None:
    """Replace the operator domain of a node by one of `TEXTS`."""
    _any_node(rng, model).domain = TEXTS[rng.integers(8)]


def _alter_location(rng: Rng, model: Any) -> None:
    """Let the weights of a tensor be read from /etc/passwd, a file outside the model."""
    tensor = _any_tensor(rng, model)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _alter_size(rng: Rng, model: Any) -> None:
    """Replace the first dimension of a weight tensor."""
    _any_tensor(rng, model).dims[0] = int(rng.choice([0, 1, -1, 2**31, 2**62]))


def _alter_weight(rng: Rng, model: Any) -> None:
    """Replace one weight by one of `NUMBERS`."""
    tensor = _any_tensor(rng, model)
    values = np.array(numpy_helper.to_array(tensor))
    values.flat[rng.integers(values.size)] = rng.choice(NUMBERS)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _alter_metadata(rng: Rng, model: Any) -> None:
    """Alter the text of one metadata entry."""
    entry = model.metadata_props[rng.integers(len(model.metadata_props))]
    entry.value = altered_text(rng, entry.value)


def _alter_edge(rng: Rng, model: Any) -> None:
    """Connect the first input of a node to any tensor of the graph."""
    names = [name for node in model.graph.node for name in node.input]
    _any_node(rng, model).input[0:1] = [names[rng.integers(len(names))]]


def _alter_input_size(rng: Rng, model: Any) -> None:
    """Replace the second dimension of one of the two graph inputs."""
    shape = model.graph.input[rng.integers(2)].type.tensor_type.shape
    shape.dim[1].dim_value = int(rng.choice([0, 1, 2**20, 2**40]))


def _alter_attributes(rng: Rng, model: Any) -> None:
    """Replace the integer and float value of every attribute of a node."""
    for attribute in _any_node(rng, model).attribute:
        attribute.i = int(rng.integers(-(2**62), 2**62))
        attribute.f = float(rng.choice(NUMBERS))


def _configuration_targets(task: Task, folder: Path) -> list[Target]:
    """Return the targets that load a YAML file (task, robot file, protocol, params file), build a
    config of parameters, or run the preflight with altered launch arguments.

    Args:
        task: Task that the protocols of trials are read for.
        folder: Folder for the altered files.
    """
    share = share_folder() / "config"
    tasks, robots, protocols = (
        sorted((share / name).glob("*.yaml")) for name in ("tasks", "robots", "trials")
    )
    params = [share / "sawyer_stack.yaml", *sorted((share / "params").glob("*.yaml"))]
    configs = (AlgorithmConfig, TrainerConfig, ActorConfig, LearnerConfig, SimBridgeConfig)

    def altered_file(rng: Rng, paths: list[Path]) -> Path:
        """Write an altered copy of one of some YAML files, and return its path."""
        path = folder / "attacked.yaml"
        path.write_bytes(altered_yaml(rng, paths[rng.integers(len(paths))].read_text()))
        return path

    def load_altered_robot(rng: Rng) -> object:
        """Load a task whose robot file is altered."""
        text = (
            (share / "tasks" / "sawyer_reach.yaml")
            .read_text()
            .replace("robot: sawyer", f"robot: {altered_file(rng, robots)}")
        )
        (folder / "task.yaml").write_text(text)
        return load_task(str(folder / "task.yaml"))

    def build_altered_config(rng: Rng) -> object:
        """Build a configuration with one or two altered parameters, sometimes with an unknown one
        in addition.
        """
        kind = configs[rng.integers(len(configs))]
        names = [field.name for field in dataclasses.fields(kind)]
        chosen = {
            names[rng.integers(len(names))]: altered_value(rng) for _ in range(rng.integers(1, 3))
        }
        return config_from_mapping(
            kind,
            {**chosen, **({altered_text(rng, "x"): 1} if rng.random() < 0.1 else {})},
            "parameters",
        )

    def check_altered_start(rng: Rng) -> object:
        """Run the preflight of a stack with one to three altered launch arguments."""
        names = [argument.name for argument in SAWYER_STACK_ARGUMENTS]
        given = {
            names[rng.integers(len(names))]: TEXTS[rng.integers(len(TEXTS))]
            for _ in range(rng.integers(1, 4))
        }
        return preflight(given)

    return [
        Target("yaml_task", 4.0, lambda rng: load_task(str(altered_file(rng, tasks)))),
        Target("yaml_robot", 4.0, load_altered_robot),
        Target(
            "yaml_trials", 3.0, lambda rng: load_protocol(str(altered_file(rng, protocols)), task)
        ),
        Target(
            "yaml_params",
            2.0,
            lambda rng: preflight({"params_file": str(altered_file(rng, params))}),
        ),
        Target("parameter", 12.0, build_altered_config),
        Target("launch_argument", 2.0, check_altered_start),
    ]


def _file_targets(task: Task, folder: Path) -> list[Target]:
    """Return the targets "checkpoint", "ledger" (a transition log) and "key", each of which loads
    such a file. Writes the correct files, which the targets copy and alter.

    Args:
        task: Gives the sizes of transitions and networks.
        folder: Folder for the correct and the altered files; has the file `key` of
            `_message_targets`.
    """

    def new_trainer() -> Trainer:
        """Return a small trainer with untrained networks and an empty buffer."""
        return Trainer(
            task.spec, TrainerConfig(replay_capacity=1000), AlgorithmConfig(hidden_sizes=(8,)), 0
        )

    rng = np.random.default_rng(0)
    codec = m.TransitionCodec(task.spec)
    sound = new_trainer()
    ledger = Ledger(folder / "sound.sqlite")
    for number in range(1, 30):
        observation = rng.normal(size=task.spec.observation_size).astype(np.float32)
        transition = Transition(
            observation, np.zeros(task.spec.action_size, np.float32), 0.5, observation, False, False
        )
        sound.add(transition)
        ledger.put(number, codec.pack(m.ReplayEntry(0, 7, 1, number, number, 0, transition)))
    sound.save(folder / "sound", {"sequences": {"7": 29}})
    ledger.close()
    (saved,) = checkpoints(folder / "sound")
    attacked = folder / "attacked" / saved.name
    target = new_trainer()

    def load_altered_checkpoint(rng: Rng) -> object:
        """Load a checkpoint with one file missing or altered, or with an altered manifest whose
        checksum is correct.
        """
        shutil.rmtree(attacked.parent, ignore_errors=True)
        shutil.copytree(saved, attacked)
        path = attacked / ("manifest.json", "state.safetensors")[rng.integers(2)]
        kind = rng.integers(3)
        if kind == 0:
            path.unlink()
        elif kind == 1:
            path.write_bytes(altered_bytes(rng, path.read_bytes()))
        else:  # with a correct checksum
            _reseal(
                attacked,
                altered_json(
                    rng, json.loads(json.loads((attacked / "manifest.json").read_text())["content"])
                ),
            )
        return target.load(attacked.parent)

    def read_altered_log(rng: Rng) -> object:
        """Open an altered transition log and decode all its records."""
        path = folder / "attacked.sqlite"
        for old in folder.glob("attacked.sqlite*"):
            old.unlink()
        path.write_bytes(altered_bytes(rng, (folder / "sound.sqlite").read_bytes()))
        found = Ledger(path)
        try:
            return [codec.unpack(content) for _, content in found.after(0)]
        finally:
            found.close()

    def read_altered_key(rng: Rng) -> object:
        """Read an altered key file that only its owner may read."""
        path = folder / "attacked.key"
        path.write_bytes(altered_bytes(rng, (folder / "key").read_bytes()))
        path.chmod(0o600)
        return read_key(path)

    return [
        Target("checkpoint", 3.0, load_altered_checkpoint),
        Target("ledger", 2.0, read_altered_log),
        Target("key", 2.0, read_altered_key),
    ]


def altered_json(rng: Rng, node: Any) -> Any:
    """Replace one part of a JSON value, chosen at random at any depth.

    Args:
        rng: Draws the part and the new value.
        node: JSON value; lists and objects are changed in place.

    Returns:
        The changed value, or another one if the whole value is replaced.
    """
    if isinstance(node, (dict, list)) and node and rng.random() < 0.8:
        key: Any = (
            list(node)[rng.integers(len(node))]
            if isinstance(node, dict)
            else int(rng.integers(len(node)))
        )
        node[key] = altered_json(rng, node[key])
        return node
    return (
        None,
        -1,
        1e308,
        "text",
        [],
        {},
        [[]],
        {"tensor": "nowhere"},
        {"items": 5},
        10**30,
        True,
    )[rng.integers(11)]


def _reseal(checkpoint: Path, manifest: Any) -> None:
    """Write the manifest of a checkpoint with a correct checksum.

    Args:
        checkpoint: Folder of the checkpoint.
        manifest: New content, a JSON value.
    """
    text = json.dumps(manifest)
    sealed = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": text}
    (checkpoint / "manifest.json").write_text(json.dumps(sealed))
