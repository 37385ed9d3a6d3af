"""How a node's process speaks to others: what it takes of its environment."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack


def _udp_ports(pid: int) -> set[int]:
    """That a process listens on."""
    inodes = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(file).removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[9] in inodes}


@pytest.mark.long
@pytest.mark.parametrize(("reach", "is_common"), [("LOCALHOST", False), ("SUBNET", True)])
def test_a_node_opens_no_shared_memory_and_listens_to_the_network_only_where_asked_to(
    processes, probe, domain, reach, is_common
):
    processes.environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = reach
    bridge = processes.node("sim_bridge")
    probe.until_active("sim_bridge")
    assert "fastrtps_port" not in Path(f"/proc/{bridge.pid}/maps").read_text()
    ports = _udp_ports(bridge.pid)
    # of its domain, by the formula of DDS
    assert len(ports & set(range(7400 + 250 * domain, 7650 + 250 * domain))) > 1
    assert (7400 + 250 * domain in ports) is is_common


@pytest.mark.long
def test_profiles_of_somebodys_own_are_left_alone(processes, probe, tmp_path):
    profiles = tmp_path / "own.xml"
    profiles.write_text(
        '<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"></profiles>'
    )
    processes.environment["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profiles)
    bridge = processes.node("sim_bridge")
    probe.until_active("sim_bridge")
    # as rmw_fastrtps sets it
    assert "fastrtps_port" in Path(f"/proc/{bridge.pid}/maps").read_text()


@pytest.mark.short("terminal")
@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN], ids=["terminal", "background"])
def test_a_node_that_is_told_to_end_while_it_is_importing_does_so_without_a_traceback(
    processes, probe, before
):
    """One that is configured wrongly takes the others along; what it said must not be buried.

    A script that starts a node in its background has SIGINT ignored for it.
    """
    words = [sys.executable, "-m", "sql_ros.nodes.actor_node"]
    actor = processes.start(words, preexec_fn=lambda: signal.signal(signal.SIGINT, before))
    maps = Path(f"/proc/{actor.pid}/maps")
    # of numpy, the first that it imports
    probe.wait(lambda: "_multiarray_umath" in maps.read_text(), timeout=240)
    assert -processes.stop(actor) in (0, signal.SIGINT)
    assert actor.log.read_text() == ""


@pytest.mark.short("abc")
@pytest.mark.parametrize("domain", ["abc", "999"])
def test_a_node_says_which_domains_there_are(processes, domain):
    bridge = processes.node("sim_bridge")
    assert bridge.wait(240) == 2
    assert (
        bridge.log.read_text()
        == f"ConfigError: ROS_DOMAIN_ID is '{domain}', expected a whole number from 0 to 232\n"
    )


@pytest.mark.long
def test_a_node_without_a_home_to_write_to_logs_elsewhere(processes, probe):
    processes.environment["HOME"] = "/proc"
    del processes.environment["ROS_LOG_DIR"]
    bridge = processes.node("sim_bridge")
    probe.until_active("sim_bridge")
    bridge.until_said("/proc/.ros/log cannot be created")


@pytest.mark.long
def test_a_node_without_a_log_folder_starts_and_says_so(processes, probe):
    processes.environment["ROS_LOG_DIR"] = "/proc/nowhere"
    bridge = processes.node("sim_bridge")
    probe.until_active("sim_bridge")
    bridge.until_said(
        "no log file is written: [Errno 2] No such file or directory: '/proc/nowhere'"
    )


@pytest.mark.long
def test_what_a_node_says_is_in_its_log_file_too(processes, probe):
    bridge = processes.node("sim_bridge")
    probe.until_active("sim_bridge")
    assert processes.stop(bridge) == 0
    (file,) = Path(processes.environment["ROS_LOG_DIR"]).glob("sim_bridge_node_*.log")
    assert file.read_text() == bridge.log.read_text()
    assert "/sim_bridge: ended" in file.read_text()
