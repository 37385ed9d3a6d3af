"""The operator's page over DDS: its stop stops a real stack, and it overrules nothing."""

import json
import os
import re
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, NOT_RUN, Browser
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from sql_ros.common.errors import ConfigError
from sql_ros.nodes.messages import disturbance_from_msg, target_to_msg
from sql_ros.nodes.page_node import LONGEST_UNSEEN_S, STRONGEST_PUSH_N
from sql_ros.nodes.qos import LATCHED, RELIABLE
from sql_ros.robot.tasks import load_task
from sql_ros.stack import preflight

pytestmark = pytest.mark.stack
PATIENT = {"max_state_age_s": 2.0, "max_lateness_s": 2.0}  # this machine may be busy
STATES = 30  # in a row


class Client:
    """A browser without a screen: reads frames in a thread, and sends requests."""

    def __init__(self, address: str) -> None:
        self._open = ExitStack()
        address = address.replace("http", "ws") + "/ws"
        self._socket = self._open.enter_context(connect(address, compression=None))
        self.frame: dict = {}
        self.status: dict = {}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for text in self._socket:
                self.frame = json.loads(text)
                self.status = self.frame.get("status", self.status)
        except ConnectionClosed:
            pass

    def send(self, name: str, age: float = 0.0, **values) -> None:
        """Send a request of somebody who saw the newest frame `age` seconds ago."""
        message = {"do": name, "seen": self.frame["t"] - age, **values}
        self._socket.send(json.dumps(message))

    def notes(self) -> str:
        return "\n".join(note["text"] for note in self.status.get("notes", ()))

    def close(self) -> None:
        self._open.close()
        self._thread.join()


class Scene:
    """A page beside a simulated arm that explores."""

    def __init__(self, processes, probe) -> None:
        self.processes, self.probe = processes, probe
        self.states = probe.listen(JointState, "joint_states", RELIABLE)
        self.page = processes.node("page")
        self.page.until_said("page: http://")
        (self.address,) = re.findall(r"page: (http://\S+)", self.page.log.read_text())
        self.clients: list[Client] = []

    def start_arm(self, **parameters) -> None:
        self.probe.play_learner()
        self.bridge = self.processes.node("sim_bridge", realtime_factor=1.0)
        self.actor = self.processes.node(
            "actor",
            {"commands": "sim_bridge/commands"},
            realtime_factor=1.0,
            **PATIENT,
            **parameters,
        )

    def client(self) -> Client:
        self.clients.append(Client(self.address))
        self.probe.wait(lambda: self.clients[-1].status, what="status")
        return self.clients[-1]

    def moves(self) -> bool:
        return bool(self.states) and np.abs(self.states[-1].velocity).max() > 0.05

    def rests(self) -> bool:
        last = self.states[-STATES:]
        return max(np.abs(state.velocity).max() for state in last) < 0.01

    def until_rest(self) -> None:
        seen = len(self.states) + STATES
        self.probe.wait(lambda: len(self.states) > seen and self.rests(), 60.0, "rest")

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def scene(processes, probe):
    made = Scene(processes, probe)
    yield made
    made.close()


def test_the_stop_of_the_page_stops_a_moving_arm_and_only_reset_and_start_release_it(scene):
    scene.start_arm()
    client, probe = scene.client(), scene.probe
    probe.wait(scene.moves, what="motion")
    probe.wait(lambda: client.status["is_alive"] and client.status["ready"].get("stop"))
    probe.wait(lambda: client.frame["state_age"] is not None, what="states on the page")
    client.send("stop", age=60.0)  # also if the operator saw nothing for long
    probe.wait(lambda: "stop: stopped" in client.notes(), 60.0, "answer")
    probe.wait(lambda: client.status["hold"].startswith("stop: "), 60.0, "hold on the page")
    scene.until_rest()
    client.send("start")
    probe.wait(lambda: "start: refused" in client.notes(), 60.0, "refusal")
    assert scene.rests()
    client.send("reset", age=LONGEST_UNSEEN_S + 1.0)
    probe.wait(lambda: "refused: reset comes" in client.notes(), 60.0, "stale reset")
    assert client.status["hold"].startswith("stop: ")
    client.send("reset")
    probe.wait(lambda: "reset: released" in client.notes(), 60.0, "reset")
    client.send("start")
    probe.wait(lambda: "start: started" in client.notes(), 60.0, "start")
    probe.wait(scene.moves, 60.0, "motion after the start")


@pytest.mark.long
def test_a_killed_actor_is_shown_as_dead_and_its_stop_as_one_without_an_answer(scene):
    scene.start_arm()
    client, probe = scene.client(), scene.probe
    probe.wait(lambda: client.status["is_alive"] and client.status["ready"].get("stop"))
    scene.actor.send_signal(signal.SIGKILL)
    probe.wait(lambda: not client.status["is_alive"], 60.0, "a dead actor")
    client.send("stop")
    probe.wait(lambda: "THE ARM MAY MOVE ON" in client.notes(), 60.0, "no answer")
    assert scene.page.poll() is None


@pytest.mark.long
def test_the_page_shows_a_lock_that_it_cannot_release(scene):
    lock = scene.probe.node.create_publisher(Bool, "actor/stop_lock", RELIABLE)
    scene.start_arm()
    client, probe = scene.client(), scene.probe
    probe.wait(scene.moves, what="motion")
    timer = probe.node.create_timer(0.1, lambda: lock.publish(Bool(data=True)))
    probe.wait(lambda: client.status["hold"].startswith("stop_lock"), 60.0, "hold on the page")
    for name in ("reset", "start"):
        client.send(name)
    probe.wait(lambda: "start:" in client.notes() and "reset:" in client.notes(), 60.0, "answers")
    scene.until_rest()
    probe.node.destroy_timer(timer)


@pytest.mark.long
def test_goals_and_pushes_of_a_fresh_page_are_sent_and_others_are_refused(scene):
    probe = scene.probe
    goals = probe.listen(PoseStamped, "actor/goal", RELIABLE)
    pushes = probe.listen(Float64MultiArray, "sim_bridge/disturb", RELIABLE)
    client = scene.client()
    push = {"body": "right_l6", "force": [0.0, 30.0, 0.0]}
    client.send("push", **push)
    probe.wait(lambda: "only a simulated arm" in client.notes(), what="no simulation")
    scene.processes.node("sim_bridge", realtime_factor=1.0)
    probe.wait(lambda: client.status["ready"].get("push"), what="simulation")
    for name, values in (
        ("push", {"body": "table", "force": [0.0, 30.0, 0.0]}),
        ("push", {"body": "right_l6", "force": [0.0, STRONGEST_PUSH_N + 1.0, 0.0]}),
        ("push", {"body": "right_l6", "force": [0.0, float("nan"), 0.0]}),
        ("goal", {"position": [0.6, 0.1]}),
        ("goal", {"position": "here"}),
        ("goal", {}),
        ("fly", {}),
    ):
        refused = client.notes().count("refused")
        client.send(name, **values)
        probe.wait(lambda: client.notes().count("refused") > refused, what=name)  # noqa: B023
    assert not goals
    assert not pushes
    client.send("push", **push)
    client.send("goal", position=[0.6, 0.1, 0.3])
    probe.wait(lambda: goals and pushes, what="goal and push")
    assert disturbance_from_msg(pushes[0]).vector == (0.0, 30.0, 0.0)
    assert goals[0].header.frame_id == "base"
    assert goals[0].pose.position.x == pytest.approx(0.6)


def test_a_page_without_a_stack_says_so_and_its_end_is_clean(scene):
    client = scene.client()
    assert client.status["actor"] == ""
    assert not client.status["is_alive"]
    assert client.frame["state_age"] is None
    assert scene.processes.stop(scene.page) == 0


@pytest.mark.long
def test_a_page_is_started_beside_a_stack_in_a_namespace(processes, probe):
    words = ["-m", "sql_ros.cli.main", "page", "namespace:=left", "task:=ur5e_reach"]
    page = processes.start([sys.executable, *words])
    page.until_said("page: http://127.0.0.1:")
    probe.wait(lambda: ("page", "/left") in probe.node.get_node_names_and_namespaces())
    assert processes.stop(page) == 0


def test_a_page_without_its_package_is_one_line(monkeypatch):
    monkeypatch.setattr(preflight, "PAGE_MODULE", "no_such_package.server")
    with pytest.raises(ConfigError, match=r"page:=true needs websockets 14 .*sql_ros\[page\]"):
        preflight.preflight({"page": "true"})


@pytest.mark.long
def test_a_stack_goes_on_when_its_page_is_killed(processes, probe, tmp_path):
    words = ["-m", "sql_ros.cli.main", "up", "page:=true", f"run_dir:={tmp_path / 'run'}"]
    stack = processes.start([sys.executable, *words])
    states = probe.listen(JointState, "joint_states", RELIABLE)
    stack.until_said("page: http://127.0.0.1:")
    probe.wait(lambda: states, what="states")
    children = Path(f"/proc/{stack.pid}/task/{stack.pid}/children").read_text().split()
    (page,) = (
        int(child)
        for child in children
        if "sql_ros.nodes.page_node" in Path(f"/proc/{child}/cmdline").read_text()
    )
    os.kill(page, signal.SIGKILL)
    stack.until_said("the stack goes on without it")
    seen = len(states)
    probe.wait(lambda: len(states) > seen + 200, what="more states")
    assert processes.stop(stack) == 0


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason=NOT_RUN)
def test_the_page_in_a_browser(scene, tmp_path):
    """Screenshots stay in the folder of the test, `pytest --basetemp` says where."""
    scene.start_arm()
    browser, probe = Browser(scene.address, tmp_path, (1000, 640)), scene.probe
    shots = tmp_path / "shots"

    def shown(expression: str, what: str) -> None:
        probe.wait(lambda: browser.ask(expression), 120.0, what)

    text = "document.getElementById('{}').textContent"
    try:
        shown("document.body.className === 'moving'", "a moving arm")
        shown("document.getElementById('readout').textContent.startsWith('tool')", "the tool")
        before = browser.ask(text.format("readout"))
        shown(f"{text.format('readout')} !== '{before}'", "motion on the page")
        assert browser.ask(_SEES_AN_ARM)
        browser.screenshot(shots / "moving.png")
        browser.press("#stop")
        shown("document.body.className === 'stopped'", "the stop")
        scene.until_rest()
        browser.screenshot(shots / "stopped.png")
        assert "Reset, then Start" in browser.ask(text.format("detail"))
        for button in ("#reset", "#start"):
            browser.press(button)
            shown(f"{text.format('notes')}.includes('{button[1:]}: ')", button)
        shown("document.body.className === 'moving'", "motion after the start")
        probe.wait(scene.moves, 60.0, "motion after the start")
        browser.press("#push")
        shown(f"{text.format('notes')}.includes('push of 30 N')", "the push")
        # the stop is in view at the end of the page, also in a small window
        view = {"width": 600, "height": 500, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **view)
        browser.ask("window.scrollTo(0, 1e6)")
        shown(_STOP_IS_IN_VIEW, "the stop in a small window")
        browser.screenshot(shots / "small.png")
        scene.actor.send_signal(signal.SIGKILL)
        shown("document.body.className === 'dead'", "a dead actor")
        assert browser.ask(text.format("stop-label")) == "STOP does not work"
        browser.screenshot(shots / "dead.png")
        scene.page.send_signal(signal.SIGSTOP)
        shown("document.body.className === 'lost'", "a page server that hangs")
        scene.page.send_signal(signal.SIGCONT)
        shown("document.body.className === 'dead'", "the connection again")
        assert scene.processes.stop(scene.page) == 0
        shown("document.body.className === 'lost'", "a lost connection")
        assert "CONNECTION LOST" in browser.ask(text.format("headline"))
        assert browser.ask(
            "getComputedStyle(document.getElementById('banner')).backgroundColor"
        ) == ("rgb(229, 72, 77)")
        assert browser.ask(text.format("stop-label")) == "STOP does not work"
        browser.screenshot(shots / "lost.png")
        assert browser.errors == []
    finally:
        browser.close()


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason=NOT_RUN)
def test_a_goal_is_dragged_in_a_browser(scene, tmp_path):
    """Within the box of the goals that the policy was trained for."""
    probe = scene.probe
    goals = probe.listen(PoseStamped, "actor/goal", RELIABLE)
    targets = probe.node.create_publisher(PoseStamped, "target", LATCHED)
    targets.publish(target_to_msg(np.array([0.6, 0.1, 0.3]), 0, "base"))
    browser = Browser(scene.address, tmp_path, (1000, 640))
    try:
        probe.wait(
            lambda: browser.ask("window.view && view.header && view.goal && view.mayDrag()"),
            60.0,
            "goal",
        )
        x, y = browser.ask(
            "(() => { const box = view.canvas.getBoundingClientRect();"
            " const at = view.project(view.goal); return [box.x + at[0], box.y + at[1]]; })()"
        )
        browser.mouse("mousePressed", x, y)
        browser.mouse("mouseMoved", x, y - 5, buttons=1)
        browser.mouse("mouseMoved", x, y - 400, buttons=1)
        assert not goals
        browser.mouse("mouseReleased", x, y - 400)
        probe.wait(lambda: goals, 20.0, "the goal")
        z = goals[0].pose.position.z
        assert z == pytest.approx(load_task("sawyer_reach").config.target_upper[2])
        assert browser.errors == []
    finally:
        browser.close()


# many colours in the middle of the picture: it is not a plain background
_SEES_AN_ARM = """(() => {
  const canvas = document.getElementById("view"), small = document.createElement("canvas");
  small.width = small.height = 64;
  const pen = small.getContext("2d");
  pen.drawImage(canvas, 0, 0, 64, 64);
  const data = pen.getImageData(0, 0, 64, 64).data, colours = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i] > 90 && data[i] > 2 * data[i + 1]) colours.add(data[i]);  // red
  }
  return colours.size > 10;
})()"""
_STOP_IS_IN_VIEW = """(() => {
  const box = document.getElementById("stop").getBoundingClientRect();
  const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return box.top >= 0 && box.bottom <= innerHeight && Boolean(found && found.closest("#stop"));
})()"""


@pytest.mark.long
def test_stalled_clients_do_not_make_the_page_grow(scene):
    client = scene.client()
    address = scene.address.replace("http", "ws") + "/ws"

    def memory_mib() -> float:
        text = Path(f"/proc/{scene.page.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    with ExitStack() as stalled:
        for _ in range(9):
            stalled.enter_context(connect(address))  # nobody reads
        scene.probe.spin_for(10.0)
        before, end = memory_mib(), time.monotonic() + 40.0
        while time.monotonic() < end:
            seen = client.frame["t"]
            scene.probe.wait(lambda: client.frame["t"] > seen, 2.0, "frames")  # noqa: B023
        assert memory_mib() - before < 10.0
