"""DDS Security: policies of the form of SROS 2 that allow what the nodes do and no more.

Without its libraries one readable line.
"""

import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sql_ros.stack.description import sawyer_stack

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "config" / "security" / "sawyer_stack.policy.xml"
SHIPPED = ROOT / "config" / "policies" / "sawyer_stack.onnx"
NODES = ("learner", "sim_bridge", "actor", "monitor", "trials", "page")
RIGHTS = {
    ("topics", "publish"),
    ("topics", "subscribe"),
    ("services", "reply"),
    ("services", "request"),
}
Rules = dict[tuple[str, str], set[str]]


def _enclaves() -> dict[str, Rules]:
    """What is allowed, by enclave; asserts the form on the way (policy.xsd 0.2.0 of sros2)."""
    root = ElementTree.parse(POLICY).getroot()
    assert (root.tag, root.attrib) == ("policy", {"version": "0.2.0"})
    (enclaves,) = root
    found: dict[str, Rules] = {}
    for enclave in enclaves:
        ((profile,),) = enclave
        assert [enclave.tag, enclave[0].tag, profile.tag] == ["enclave", "profiles", "profile"]
        assert profile.attrib == {"ns": "/", "node": enclave.attrib["path"].rsplit("/", 1)[1]}
        rules: Rules = {}
        for part in profile:
            ((right, allowed),) = part.attrib.items()
            assert allowed == "ALLOW"
            assert (part.tag, right) in RIGHTS - set(rules)
            assert {child.tag for child in part} == {part.tag[:-1]}
            rules[part.tag, right] = {child.text for child in part}
        found[enclave.attrib["path"]] = rules
    return found


def test_every_process_of_a_stack_is_told_its_enclave_and_has_one():
    enclaves = _enclaves()
    assert set(enclaves) == {f"/sql_ros/{name}" for name in (*NODES, "operator")}
    for mode in ("train", "play", "trials"):
        stack = sawyer_stack(
            {
                "mode": mode,
                "enclaves": "/sql_ros",
                "page": "true",
                **({} if mode == "train" else {"policy": str(SHIPPED)}),
            }
        )
        told = [stack.own_arguments(process) for process in stack.processes]
        assert all(words[words.index("--enclave") + 1] in enclaves for words in told)


def test_nobody_is_allowed_everything_and_only_the_learner_may_send_policies():
    names = [name for rules in _enclaves().values() for group in rules.values() for name in group]
    assert all(name.startswith("/") and not set(name) & set("*?[") for name in names)
    senders = [
        path for path, rules in _enclaves().items() if "/policy" in rules["topics", "publish"]
    ]
    assert senders == ["/sql_ros/learner"]
    commanding = {
        path
        for path, rules in _enclaves().items()
        if "/sim_bridge/commands" in rules["topics", "publish"]
    }
    assert commanding == {"/sql_ros/actor", "/sql_ros/trials"}


@pytest.mark.long
@pytest.mark.stack
def test_the_policies_allow_what_the_nodes_do_and_nothing_else(processes, probe, fast_learner):
    to_bridge = {"commands": "sim_bridge/commands"}
    processes.node("learner", use_sim_time=True, **fast_learner)
    processes.node("sim_bridge")
    actor = processes.node("actor", to_bridge, use_sim_time=True)
    processes.node("monitor", use_sim_time=True)
    processes.node("page")
    trials = {"task": "sawyer_stack", "policy": str(SHIPPED), "use_sim_time": True}
    enclaves = _enclaves()

    def of_graph(name: str) -> Rules:
        kinds = {
            ("topics", "publish"): probe.node.get_publisher_names_and_types_by_node,
            ("topics", "subscribe"): probe.node.get_subscriber_names_and_types_by_node,
            ("services", "reply"): probe.node.get_service_names_and_types_by_node,
            ("services", "request"): probe.node.get_client_names_and_types_by_node,
        }
        found = {kind: {topic for topic, _ in ask(name, "/")} for kind, ask in kinds.items()}
        return {kind: topics for kind, topics in found.items() if topics}

    for name in NODES:
        if name == "trials":  # of one command topic there is one actor
            processes.stop(actor)
            processes.node("trials", {**to_bridge, "disturb": "sim_bridge/disturb"}, **trials)
        probe.wait(lambda: name in probe.node.get_node_names(), what=name)  # noqa: B023
        try:
            probe.wait(
                lambda: of_graph(name) == enclaves[f"/sql_ros/{name}"],  # noqa: B023
                timeout=80.0,
            )
        except AssertionError:
            assert of_graph(name) == enclaves[f"/sql_ros/{name}"]


@pytest.mark.short("settings0-*")
@pytest.mark.stack
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "ROS_SECURITY_STRATEGY=Enforce"),
        ({"ROS_SECURITY_STRATEGY": "Enforce"}, "cannot start"),
        ({"ROS_SECURITY_STRATEGY": "Enforce", "ROS_SECURITY_KEYSTORE": "{empty}"}, "cannot start"),
    ],
)
def test_security_that_these_wheels_do_not_have_ends_in_one_line(
    processes, monkeypatch, tmp_path, settings, reason
):
    (tmp_path / "enclaves").mkdir()
    monkeypatch.setitem(processes.environment, "ROS_SECURITY_ENABLE", "true")
    for name, value in settings.items():
        monkeypatch.setitem(processes.environment, name, value.format(empty=tmp_path))
    node = processes.node("actor")
    assert node.wait(240) == 2
    lines = [line for line in node.log.read_text().splitlines() if "[INFO]" not in line]
    assert len(lines) == 1, lines
    assert "ROS_SECURITY_ENABLE is true" in lines[0]
    assert reason in lines[0]
    assert "docs/reliability.md" in lines[0]


def test_the_keystore_script_says_what_it_needs_and_asks_sros2_for_every_enclave(tmp_path):
    script = ROOT / "scripts" / "make_keystore"
    bare = {"PATH": "/usr/bin:/bin"}
    assert subprocess.run([script], env=bare, capture_output=True, text=True).returncode == 2
    missing = subprocess.run([script, tmp_path / "keys"], env=bare, capture_output=True, text=True)
    assert missing.returncode == 2
    assert "there is no ros2 here" in missing.stderr
    # what it asks of ros2, recorded; sros2 itself is not on PyPI
    (tmp_path / "ros2").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "ros2").chmod(0o755)
    made = subprocess.run(
        [script, tmp_path / "keys"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    create, generate = (tmp_path / "asked").read_text().splitlines()
    assert create == f"security create_keystore {tmp_path}/keys"
    words = generate.split()
    assert words[:5] == ["security", "generate_artifacts", "-k", f"{tmp_path}/keys", "-p"]
    assert Path(words[5]).samefile(POLICY)
    assert "ROS_SECURITY_STRATEGY=Enforce" in made.stdout
