"""`sql-ros doctor`: looks at this machine the way a colleague would, and says what to do."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

TALK = """
import os, sys, time, rclpy
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node("sql_ros_doctor_" + sys.argv[1])
heard = []
node.create_subscription(String, "sql_ros_doctor_" + sys.argv[2], lambda m: heard.append(m.data), 10)
publisher = node.create_publisher(String, "sql_ros_doctor_" + sys.argv[1], 10)
end = time.monotonic() + 10.0
while time.monotonic() < end and len(heard) < 3:
    publisher.publish(String(data="here"))
    rclpy.spin_once(node, timeout_sec=0.1)
for _ in range(5):
    publisher.publish(String(data="bye"))
    rclpy.spin_once(node, timeout_sec=0.05)
node.destroy_node()
rclpy.shutdown()
sys.exit(0 if len(heard) >= 3 else 1)
"""


@dataclass(frozen=True)
class Finding:
    """One line: does it work, what was seen, what to do if not; `needed` for training in simulation."""

    works: bool
    what: str
    seen: str
    advice: str = ""
    needed: bool = True


def examine() -> int:
    """Prints every finding; 0 if training in simulation can work here, 1 if not."""
    checks: list[Callable[[], Finding]] = [_python, _cores]
    checks += [lambda p=package, e=extra: _package(p, e) for package, extra in PACKAGES]  # type: ignore[misc]
    checks += [_share, _ros, _middleware, _discovery, _ros2_command, _rendering, _priority]
    broken = False
    for check in checks:
        finding = check()
        mark = "ok  " if finding.works else ("FAIL" if finding.needed else "note")
        print(f"[{mark}] {finding.what}: {finding.seen}", flush=True)
        if not finding.works and finding.advice:
            print(f"       -> {finding.advice}")
        broken |= finding.needed and not finding.works
    print("Training in simulation cannot work here until the lines marked FAIL are mended." if broken else "Ready: sql-ros up sawyer_stack")
    return int(broken)


PACKAGES = (
    ("numpy", "install the package: pip install ."),
    ("mujoco", "install the package: pip install ."),
    ("onnxruntime", "install the package: pip install ."),
    ("daqp", "install the package: pip install ."),
    ("torch", "needed by the learner, not on the robot's PC: make setup, or pip install '.[learner]' with the CPU index in the Makefile"),
    ("onnx", "needed by the learner: pip install '.[learner]'"),
    ("safetensors", "needed by the learner: pip install '.[learner]'"),
    ("matplotlib", "needed by the monitor: pip install '.[report]'"),
    ("rich", "needed by the monitor: pip install '.[report]'"),
    ("gymnasium", "needed by the Gymnasium environments: pip install '.[report]'"),
)


def _package(name: str, advice: str) -> Finding:
    try:
        importlib.import_module(name)
        return Finding(True, name, metadata.version(name))
    except Exception as error:  # a broken binary package raises whatever it likes
        return Finding(False, name, f"cannot be imported ({error})", advice, needed=name != "gymnasium")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(sys.version_info >= (3, 10), "Python", f"{version} at {sys.executable}", "Python 3.10 or later is needed")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    return Finding(count >= 2, "processor cores", str(count), "learner and simulation share one core: it works, slowly", needed=False)


def _share() -> Finding:
    from sql_ros.core.errors import ConfigError
    from sql_ros.share import share_folder

    try:
        return Finding(True, "data files", str(share_folder()))
    except ConfigError as error:
        return Finding(False, "data files", "not found", str(error))


def _ros() -> Finding:
    advice = "source a ROS 2 workspace (source /opt/ros/jazzy/setup.bash), or take the wheels: pip install '.[ros]'"
    try:
        import rclpy.lifecycle  # noqa: F401  (that they can be imported is the question)
        import trajectory_msgs.msg  # noqa: F401
    except Exception as error:  # see _package
        return Finding(False, "ROS 2", f"rclpy and its messages cannot be imported ({error})", advice)
    try:
        wheel = metadata.version("ros-rclpy")
        origin = f"PyPI wheels, rclpy {wheel} ({'Jazzy' if wheel.startswith('7.') else 'Kilted or later'})"
    except metadata.PackageNotFoundError:
        origin = f"installed distribution '{os.environ.get('ROS_DISTRO', 'unknown')}'"
    return Finding(True, "ROS 2", origin)


def _middleware() -> Finding:
    try:
        from rclpy.utilities import get_rmw_implementation_identifier

        return Finding(True, "RMW", get_rmw_implementation_identifier())
    except Exception as error:  # see _package
        return Finding(False, "RMW", f"none ({error})", "see ROS 2 above")


def _discovery() -> Finding:
    """Two processes that look for each other."""
    environment = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    talkers = [
        subprocess.Popen([sys.executable, "-c", TALK, *names], env=environment, stderr=subprocess.DEVNULL)
        for names in (("a", "b"), ("b", "a"))
    ]
    try:
        met = all([talker.wait(30) == 0 for talker in talkers])
    except subprocess.TimeoutExpired:
        for talker in talkers:
            talker.kill()
        met = False
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    advice = "a firewall or container may block UDP on the loopback interface; try another ROS_DOMAIN_ID"
    return Finding(met, "DDS discovery", f"two processes {'met' if met else 'did not meet'} in domain {domain}, on this host", advice)


def _ros2_command() -> Finding:
    path = shutil.which("ros2")
    return Finding(path is not None, "ros2 launch", path or "no ros2 command", "use sql-ros up: it starts the same stack", needed=False)


def _rendering() -> Finding:
    """In a process of its own: a graphics driver may take the process down."""
    load = "import mujoco; m = mujoco.MjModel.from_xml_string('<mujoco/>')"
    code = load + "; r = mujoco.Renderer(m, 8, 8); r.update_scene(mujoco.MjData(m)); r.render()"
    environment = dict(os.environ)
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    backend = environment.get("MUJOCO_GL", "default")
    advice = "apt install libegl1 libgl1-mesa-dri (or libosmesa6 with MUJOCO_GL=osmesa); without it reports have a drawing instead"
    return Finding(result.returncode == 0, "rendering", f"MUJOCO_GL={backend}", advice, needed=False)


def _priority() -> Finding:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return Finding(True, "real-time priority", "permitted")
    except OSError as error:
        advice = "only for high control rates on a loaded machine: allow rtprio in /etc/security/limits.conf"
        return Finding(False, "real-time priority", f"not permitted ({error})", advice, needed=False)
