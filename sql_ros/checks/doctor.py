"""`sql-ros doctor`: check what works on this machine, with advice for what does not."""

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

from sql_ros.checks.doctor_dds import check_discovery, last_line, list_publishers
from sql_ros.common.child_process import python_words
from sql_ros.common.errors import PolicyError, SqlRosError

POLICY = "sawyer_stack"  # a shipped policy, loaded to check ONNX Runtime
RENDER_S = 60.0  # longest time to render a picture


@dataclass(frozen=True)
class Diagnosis:
    """One line of the doctor.

    Attributes:
        works: Whether the part works.
        what: Name of the part.
        seen: What was found.
        advice: What to do if the part does not work; empty: nothing is printed.
        needed: Whether the machine cannot do without the part what the doctor was asked about. A
            needed part that does not work is marked FAIL, another one note.
    """

    works: bool
    what: str
    seen: str
    advice: str = ""
    needed: bool = True


def examine(*, robot: bool = False) -> int:
    """Run every check and print its diagnosis, then a closing line.

    Args:
        robot: Judge a robot's PC; False: a machine that trains in simulation.

    Returns:
        Exit code: 0 if every needed part works, otherwise 1.
    """
    broken = False
    for check in _checks(robot):
        diagnosis = check()
        mark = "ok  " if diagnosis.works else ("FAIL" if diagnosis.needed else "note")
        print(f"[{mark}] {diagnosis.what}: {diagnosis.seen}", flush=True)
        if not diagnosis.works and diagnosis.advice:
            print(f"       -> {diagnosis.advice}")
        broken |= diagnosis.needed and not diagnosis.works
    task = (
        "A robot cannot be driven from here" if robot else "Training in simulation cannot work here"
    )
    ready = (
        "sql-ros up sawyer_stack sim:=false dry_run:=true" if robot else "sql-ros up sawyer_stack"
    )
    print(f"{task} until the lines marked FAIL are repaired." if broken else f"Ready: {ready}")
    return int(broken)


def _checks(robot: bool) -> list[Callable[[], Diagnosis]]:
    """Return the checks in the order in which they are run and printed.

    Args:
        robot: For a robot's PC; False: for a machine that trains in simulation.
    """
    required = (*ACTING, *(() if robot else LEARNING), *SHOWING)
    packages = [partial(_package, *each) for each in required]
    common: list[Callable[[], Diagnosis]] = [
        _python,
        _cores,
        _log_folder,
        _shared_memory,
        *packages,
        _data_files,
        _policy,
        _ros,
        _middleware,
        _discovery,
    ]
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


def _package(name: str, advice: str, needed: bool) -> Diagnosis:
    """Check that a package can be imported; the diagnosis shows its version.

    Args:
        name: Name of the package, for import and distribution.
        advice: What to do if the package is missing.
        needed: Whether the machine cannot do without the package what the doctor was asked about.
    """
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken binary package may raise any error
        return Diagnosis(False, name, f"cannot be imported ({error})", advice, needed)
    try:
        version = metadata.version(name)
    except (
        metadata.PackageNotFoundError
    ):  # a package of the Linux distribution may have no metadata
        version = getattr(module, "__version__", "of unknown version")
    return Diagnosis(True, name, version)


def _python() -> Diagnosis:
    """Check that Python is version 3.10 or later, which is needed."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Diagnosis(
        sys.version_info >= (3, 10),
        "Python",
        f"{version} at {sys.executable}",
        "Python 3.10 or later is needed",
    )


def _cores() -> Diagnosis:
    """Check that this process may use at least two processor cores, which is not needed."""
    count = len(os.sched_getaffinity(0))
    return Diagnosis(
        count >= 2,
        "processor cores",
        str(count),
        "all processes share one core: it works, slowly",
        needed=False,
    )


def _log_folder() -> Diagnosis:
    """Check that log files have a writable folder.

    If there is none, ROS_LOG_DIR is set to another folder if one can be written to, and
    MPLCONFIGDIR to a temporary folder if it is not set. The part is needed only if there is no
    other folder.
    """
    from sql_ros.nodes.log_folder import choose_log_folder

    moved = choose_log_folder()
    if not moved:
        return Diagnosis(True, "log folder", os.environ.get("ROS_LOG_DIR", "that of ROS"))
    advice = "set HOME or ROS_LOG_DIR to a folder that can be written to; it works without"
    if works := "ROS_LOG_DIR" in os.environ:
        os.environ.setdefault("MPLCONFIGDIR", tempfile.mkdtemp(prefix="matplotlib_"))
    return Diagnosis(False, "log folder", moved, advice, needed=not works)


def _shared_memory() -> Diagnosis:
    """Check that /dev/shm can be written to.

    DDS uses shared memory where it can. The nodes of the stack use UDP, so that the part is not
    needed.
    """
    if os.access("/dev/shm", os.W_OK):
        return Diagnosis(True, "shared memory", "/dev/shm can be written to")
    advice = (
        "DDS writes errors about it into the logs and uses UDP: it works; a container gets one by"
        " --shm-size=64m"
    )
    return Diagnosis(False, "shared memory", "/dev/shm cannot be written to", advice, needed=False)


def _data_files() -> Diagnosis:
    """Check that the data files of the package are found; the diagnosis names their folder."""
    from sql_ros.common.data_files import share_folder

    try:
        return Diagnosis(True, "data files", str(share_folder()))
    except SqlRosError as error:
        return Diagnosis(False, "data files", "not found", str(error))


def _policy() -> Diagnosis:
    """Check that the installed ONNX Runtime loads the shipped policy `POLICY`, which is needed."""
    try:
        from sql_ros.common.data_files import share_folder
        from sql_ros.policy.runtime import Policy
        from sql_ros.robot.tasks import load_task

        data = (share_folder() / "config/policies" / f"{POLICY}.onnx").read_bytes()
        policy = Policy(data, load_task(POLICY).spec)
    except (ImportError, OSError, SqlRosError) as error:
        advice = (
            "update onnxruntime" if isinstance(error, PolicyError) else "see the packages above"
        )
        return Diagnosis(False, "a policy", f"{POLICY}: {error}", advice)
    return Diagnosis(True, "a policy", f"{POLICY} acts, version {policy.info.version}")


def _ros() -> Diagnosis:
    """Check that rclpy and its messages can be imported, which is needed.

    The diagnosis names the installed distribution, or the version of the wheel from PyPI.
    """
    advice = (
        "source a ROS 2 workspace (source /opt/ros/jazzy/setup.bash), or take the wheels: pip"
        " install '.[ros]'"
    )
    try:
        import rclpy.lifecycle  # noqa: F401
        import trajectory_msgs.msg  # noqa: F401
    except Exception as error:  # see _package
        return Diagnosis(
            False, "ROS 2", f"rclpy and its messages cannot be imported ({error})", advice
        )
    try:
        wheel = metadata.version("ros-rclpy")
        origin = (
            f"PyPI wheels, rclpy {wheel}"
            f" ({'Jazzy' if wheel.startswith('7.') else 'Kilted or later'})"
        )
    except metadata.PackageNotFoundError:
        origin = f"installed distribution '{os.environ.get('ROS_DISTRO', 'unknown')}'"
    return Diagnosis(True, "ROS 2", origin)


def _middleware() -> Diagnosis:
    """Check that rclpy has a middleware, which is needed; the diagnosis names it."""
    try:
        from rclpy.utilities import get_rmw_implementation_identifier

        return Diagnosis(True, "RMW", get_rmw_implementation_identifier())
    except Exception as error:  # see _package
        return Diagnosis(False, "RMW", f"none ({error})", "see ROS 2 above")


def _discovery() -> Diagnosis:
    """Check that two processes discover each other, as the nodes of a stack must. This is needed,
    and takes some seconds.
    """
    met, error = check_discovery()
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    if error:
        return Diagnosis(
            False,
            "DDS discovery",
            f"a process could not run: {error}",
            "no node can start before this is repaired",
        )
    advice = (
        "a firewall or container may block UDP on the loopback interface; try another ROS_DOMAIN_ID"
    )
    return Diagnosis(
        met,
        "DDS discovery",
        f"two processes {'met' if met else 'did not meet'} in domain {domain}, on this host",
        advice,
    )


def _controller_messages() -> Diagnosis:
    """Check that the messages of the controller manager can be imported, which is not needed."""
    what = "controller_manager_msgs"
    advice = "without it the subscribers of the command topic are checked"
    try:
        importlib.import_module(f"{what}.srv")
    except Exception as error:  # see _package
        return Diagnosis(
            False,
            what,
            f"cannot be imported ({error})",
            f"{advice}; apt install ros-$ROS_DISTRO-controller-manager-msgs",
            False,
        )
    return Diagnosis(True, what, "the controllers can be queried")


def _network() -> Diagnosis:
    """List the publishers of joint states on the network. No publisher is a note, since a driver
    need not run yet.
    """
    states, nodes, error = list_publishers()
    if error:
        return Diagnosis(
            False,
            "joint states",
            f"not checked: {error}",
            "see DDS discovery above",
            needed=False,
        )
    if not states:
        reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        advice = (
            "start the driver, in the same ROS_DOMAIN_ID; on another host:"
            f" ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET (now {reach})"
        )
        return Diagnosis(
            False,
            "joint states",
            f"no publisher among {len(nodes)} nodes",
            advice,
            needed=False,
        )
    shown = "; ".join(f"{topic} by {', '.join(names)}" for topic, names in states.items())
    return Diagnosis(True, "joint states", shown)


def _ros2_command() -> Diagnosis:
    """Check that the command `ros2` is on the path, which is not needed."""
    path = shutil.which("ros2")
    return Diagnosis(
        path is not None,
        "ros2 launch",
        path or "no ros2 command",
        "use sql-ros up: it starts the same stack",
        needed=False,
    )


def _rendering() -> Diagnosis:
    """Check that MuJoCo renders a picture, which is not needed.

    The picture is made in a child process, since a graphics driver may crash it.
    """
    load = "import mujoco; m = mujoco.MjModel.from_xml_string('<mujoco/>')"
    code = load + "; r = mujoco.Renderer(m, 8, 8); r.update_scene(mujoco.MjData(m)); r.render()"
    backend = os.environ.get("MUJOCO_GL", "default")
    advice = (
        "apt install libegl1 libgl1-mesa-dri (or libosmesa6 with MUJOCO_GL=osmesa); without it"
        " reports have a drawing instead"
    )
    try:
        result = subprocess.run(
            [*python_words(), "-c", code],
            capture_output=True,
            text=True,
            timeout=RENDER_S,
            check=False,
        )
        why = "" if result.returncode == 0 else f", {last_line(result.stderr)}"
    except subprocess.TimeoutExpired:
        why = f", no picture within {RENDER_S:g} s"
    return Diagnosis(not why, "rendering", f"MUJOCO_GL={backend}{why}", advice, needed=False)


def _priority() -> Diagnosis:
    """Check that this process may take a real-time priority, which is not needed; the normal
    priority is restored.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return Diagnosis(True, "real-time priority", "permitted")
    except OSError as error:
        advice = (
            "only for high control rates on a loaded machine: allow rtprio in"
            " /etc/security/limits.conf"
        )
        return Diagnosis(
            False, "real-time priority", f"not permitted ({error})", advice, needed=False
        )
