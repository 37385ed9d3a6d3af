"""The ROS parameters of the actor."""

from __future__ import annotations

from dataclasses import dataclass

from sql_ros.common.config import option
from sql_ros.nodes.guard import GuardConfig
from sql_ros.nodes.identifying import CHOICES
from sql_ros.robot.control.realtime import RealtimeConfig


@dataclass(frozen=True)
class ActorConfig(RealtimeConfig, GuardConfig):
    """ROS parameters of the actor node; their descriptions are printed by `sql-ros params`."""

    task: str = option("sawyer_reach", "name of a file in config/tasks/, or a path")
    mode: str = option(
        "train",
        "train: sample actions and publish transitions; play: act deterministically",
        choices=("train", "play"),
    )
    policy: str = option(
        "",
        "ONNX file of the first policy, or several of skills to blend in play, with commas between"
        " them; empty: the first one on the policy topic",
    )
    seed: int = option(0, "seed of start poses, exploration and the policy's noise", minimum=0)
    explores: bool = option(
        True, "act uniformly at random until the first policy is there; false: hold until then"
    )
    targets: str = option(
        "drawn",
        "play: drawn: draw one for each episode, until a goal arrives; goal: hold until one arrives"
        " on ~/goal",
        choices=("drawn", "goal"),
    )
    realtime_factor: float = option(
        1.0,
        "simulated seconds per second, as in the sim_bridge; 0: lockstep; a real arm needs 1",
        minimum=0.0,
        maximum=100.0,
    )
    joint_prefix: str = option(
        "", "prefix of every joint and frame name on topics; empty: as in the robot's file"
    )
    people_in_reach: bool = option(
        False, "people may be in reach: tool and links move at most at 0.25 m/s"
    )
    follows_clock: bool = option(
        True,
        "with use_sim_time: control time is that of /clock; false: it is that of the steady clock,"
        " at the pace of realtime_factor, as for the sim_bridge",
    )
    dry_run: bool = option(
        False, "send nothing to the arm; publish the commands on ~/dry_run_commands instead"
    )
    real_arm: bool = option(
        True,
        "true: the arm is real, and its controller is checked, unless the commands go to a topic"
        " sim_bridge/commands; false: the arm is simulated",
    )
    identify: str = option(
        "first",
        "real arm: move each joint a little before the arm acts, after ~/start; first: only if"
        " there is no record of an identification; always; never",
        choices=CHOICES,
    )
    compares_description: bool = option(
        True,
        "real arm: hold it while the topic robot_description describes another arm than the robot"
        " file",
    )
    switch_controllers: bool = option(
        False,
        "real arm: activate the controller of the commands where another one is active, and restore"
        " the other one at the end",
    )
    enable_robot: bool = option(
        False,
        "Intera: before the first command, ask a robot that is not enabled to enable itself, once;"
        " false: the operator enables it",
    )
    key_file: str = option(
        "",
        "file of the key that signs policies, progress and transitions, see 'sql-ros keygen';"
        " empty: they are not signed",
    )
    actor_id: int = option(
        0, "number of this actor among several that feed one learner", minimum=0, maximum=2**31
    )
    most_transitions: int = option(
        0,
        "train: number of transitions of the run, with those of earlier sessions, after which the"
        " arm is held; 0: no limit",
        minimum=0,
    )
    learner_patience_s: float = option(
        60.0,
        "lockstep training: longest wait for the learner; then a fault is counted, and the actor"
        " goes on [s]",
        minimum=0.0,
        live=True,
    )
    temperature: float = option(
        0.0,
        "play: 0: act deterministically; otherwise actions are drawn in proportion to"
        " exp(Q / temperature); at most the temperature at which the policy was trained",
        minimum=0.0,
        live=True,
    )

    weights: str = option(
        "",
        "play with several policies: weight of each one's Q, such as 0.5,0.5; a change is taken"
        " over at most at 1 per second; empty: 1/n each",
        live=True,
    )

    @property
    def is_lockstep(self) -> bool:
        """Return whether the run is in lockstep: the simulation waits for every command."""
        return self.realtime_factor == 0.0

    @property
    def trains(self) -> bool:
        """Return whether the mode is "train": transitions go to a learner."""
        return self.mode == "train"
