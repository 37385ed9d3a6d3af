"""`sql-ros doctor`: looks at this machine the way a colleague would, and says what to do."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

from sql_ros.cli.doctor_dds import last_line, listen, meet
from sql_ros.core.errors import PolicyError, SqlRosError

POLICY = "sawyer_stack"  # shipped; loading it shows that ONNX Runtime can act
RENDER_S = 60.0


@dataclass(frozen=True)
class Finding:
    """One line: does it work, what was seen, what to do if not; `needed` for what the doctor was asked about."""

    works: bool
    what: str
    seen: str
    advice: str = ""
    needed: bool = True


def examine(*, robot: bool = False) -> int:
    """Print every finding.

    Args:
        robot: Judge a robot's PC instead of a machine that trains in simulation.

    Returns:
        0 if it can work here, 1 if not.
    """
    broken = False
    for check in _checks(robot):
        finding = check()
        mark = "ok  " if finding.works else ("FAIL" if finding.needed else "note")
        print(f"[{mark}] {finding.what}: {finding.seen}", flush=True)
        if not finding.works and finding.advice:
            print(f"       -> {finding.advice}")
        broken |= finding.needed and not finding.works
    task = "A robot cannot be driven from here" if robot else "Training in simulation cannot work here"
    ready = "sql-ros up sawyer_stack sim:=false dry_run:=true" if robot else "sql-ros up sawyer_stack"
    print(f"{task} until the lines marked FAIL are mended." if broken else f"Ready: {ready}")
    return int(broken)


def _checks(robot: bool) -> list[Callable[[], Finding]]:
    packages = [partial(_package, *each) for each in (*ACTING, *([] if robot else LEARNING), *SHOWING)]
    common = [_python, _cores, _home, _shared_memory, *packages, _share, _policy, _ros, _middleware, _discovery]
    if robot:
        return [*common, _controller_messages, _network, _ros2_command, _priority]
    return [*common, _ros2_command, _rendering, _priority]


INSTALL = "install the package: pip install ."
LEARNER = "needed by the learner: pip install '.[learner]'"
ACTING = tuple((name, INSTALL, True) for name in ("numpy", "mujoco", "onnxruntime", "onnx", "daqp"))
LEARNING = (
    ("torch", f"{LEARNER} with the CPU index in the Makefile, or make setup", True),
    ("safetensors", LEARNER, True),
)
SHOWING = (
    ("matplotlib", "without it reports have no pictures: pip install '.[report]'", False),
    ("rich", "without it the live view is plain lines: pip install '.[report]'", False),
    ("gymnasium", "needed by the Gymnasium environments alone: pip install '.[report]'", False),
)


def _package(name: str, advice: str, needed: bool) -> Finding:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken binary package raises whatever it likes
        return Finding(False, name, f"cannot be imported ({error})", advice, needed)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:  # a distribution's package need not have them
        version = getattr(module, "__version__", "of unknown version")
    return Finding(True, name, version)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(sys.version_info >= (3, 10), "Python", f"{version} at {sys.executable}", "Python 3.10 or later is needed")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    return Finding(count >= 2, "processor cores", str(count), "all processes share one core: it works, slowly", needed=False)


def _home() -> Finding:
    """Look for a place for log files, and for Matplotlib's cache, which is said to be slow without one."""
    from sql_ros.nodes.log_folder import choose_log_folder

    moved = choose_log_folder()
    if not moved:
        return Finding(True, "log folder", os.environ.get("ROS_LOG_DIR", "that of ROS"))
    advice = "set HOME or ROS_LOG_DIR to a folder that can be written to; it works without"
    if works := "ROS_LOG_DIR" in os.environ:
        os.environ.setdefault("MPLCONFIGDIR", tempfile.mkdtemp(prefix="matplotlib_"))
    return Finding(False, "log folder", moved, advice, needed=not works)


def _shared_memory() -> Finding:
    """DDS uses it where it can; the nodes of the stack talk by UDP."""
    if os.access("/dev/shm", os.W_OK):
        return Finding(True, "shared memory", "/dev/shm can be written to")
    advice = "DDS writes errors about it into the logs and uses UDP: it works; a container gets one by --shm-size=64m"
    return Finding(False, "shared memory", "/dev/shm cannot be written to", advice, needed=False)


def _share() -> Finding:
    from sql_ros.share import share_folder

    try:
        return Finding(True, "data files", str(share_folder()))
    except SqlRosError as error:
        return Finding(False, "data files", "not found", str(error))


def _policy() -> Finding:
    """Load a shipped policy with the installed ONNX Runtime."""
    try:
        from sql_ros.core.policy import Policy
        from sql_ros.robot.tasks import load_task
        from sql_ros.share import share_folder

        data = (share_folder() / "config/policies" / f"{POLICY}.onnx").read_bytes()
        policy = Policy(data, load_task(POLICY).spec)
    except (ImportError, OSError, SqlRosError) as error:
        advice = "update onnxruntime" if isinstance(error, PolicyError) else "see the packages above"
        return Finding(False, "a policy", f"{POLICY}: {error}", advice)
    return Finding(True, "a policy", f"{POLICY} acts, version {policy.info.version}")


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
    """Let two processes look for each other, as the nodes of a stack do."""
    met, error = meet()
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    if error:
        return Finding(False, "DDS discovery", f"a process could not run: {error}", "no node can start before this is mended")
    advice = "a firewall or container may block UDP on the loopback interface; try another ROS_DOMAIN_ID"
    return Finding(met, "DDS discovery", f"two processes {'met' if met else 'did not meet'} in domain {domain}, on this host", advice)


def _controller_messages() -> Finding:
    what, advice = "controller_manager_msgs", "without it the subscribers of the command topic are checked instead"
    try:
        importlib.import_module(f"{what}.srv")
    except Exception as error:  # see _package
        return Finding(
            False, what, f"cannot be imported ({error})", f"{advice}; apt install ros-$ROS_DISTRO-controller-manager-msgs", False
        )
    return Finding(True, what, "the controllers can be asked for")


def _network() -> Finding:
    """Say who publishes joint states now; a driver need not run yet."""
    states, nodes, error = listen()
    if error:
        return Finding(False, "joint states", f"not looked for: {error}", "see DDS discovery above", needed=False)
    if not states:
        reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        advice = f"start the driver, in the same ROS_DOMAIN_ID; on another host: ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET (now {reach})"
        return Finding(False, "joint states", f"nobody publishes any, among {len(nodes)} nodes", advice, needed=False)
    shown = "; ".join(f"{topic} by {', '.join(names)}" for topic, names in states.items())
    return Finding(True, "joint states", shown)


def _ros2_command() -> Finding:
    path = shutil.which("ros2")
    return Finding(path is not None, "ros2 launch", path or "no ros2 command", "use sql-ros up: it starts the same stack", needed=False)


def _rendering() -> Finding:
    """In a process of its own: a graphics driver may take the process down."""
    load = "import mujoco; m = mujoco.MjModel.from_xml_string('<mujoco/>')"
    code = load + "; r = mujoco.Renderer(m, 8, 8); r.update_scene(mujoco.MjData(m)); r.render()"
    backend = os.environ.get("MUJOCO_GL", "default")
    advice = "apt install libegl1 libgl1-mesa-dri (or libosmesa6 with MUJOCO_GL=osmesa); without it reports have a drawing instead"
    try:
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=RENDER_S, check=False)
        why = "" if result.returncode == 0 else f", {last_line(result.stderr)}"
    except subprocess.TimeoutExpired:
        why = f", no picture within {RENDER_S:g} s"
    return Finding(not why, "rendering", f"MUJOCO_GL={backend}{why}", advice, needed=False)


def _priority() -> Finding:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return Finding(True, "real-time priority", "permitted")
    except OSError as error:
        advice = "only for high control rates on a loaded machine: allow rtprio in /etc/security/limits.conf"
        return Finding(False, "real-time priority", f"not permitted ({error})", advice, needed=False)
