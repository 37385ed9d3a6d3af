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
        "train: sample, feed the replay topic; play: the mean of its samples, or the best",
        choices=("train", "play"),
    )
    policy: str = option(
        "", "ONNX file to start with; empty: whoever publishes on the policy topic gives one"
    )
    seed: int = option(0, "of start poses, exploration and the policy's noise", minimum=0)
    explores: bool = option(True, "act uniformly until a first policy is there; otherwise hold")
    targets: str = option(
        "drawn",
        "play: drawn: anew for each episode, until a goal comes; goal: hold until one comes on"
        " ~/goal",
        choices=("drawn", "goal"),
    )
    realtime_factor: float = option(
        1.0, "as in the simulation; 0: lockstep. A real arm has 1", minimum=0.0, maximum=100.0
    )
    joint_prefix: str = option(
        "", "before every joint and frame name on topics; empty: as in the robot's file"
    )
    people_in_reach: bool = option(
        False, "people may be in reach: tool and links are no faster than 0.25 m/s"
    )
    follows_clock: bool = option(
        True,
        "with use_sim_time: control time is that of /clock; false: the steady clock's, as beside"
        " the sim_bridge, paced by realtime_factor",
    )
    dry_run: bool = option(
        False, "send nothing to the arm: what would be sent goes to ~/dry_run_commands"
    )
    real_arm: bool = option(
        True,
        "the controller of the commands is checked and watched, unless they go to a topic"
        " sim_bridge/commands; false: the arm is simulated",
    )
    identify: str = option(
        "first",
        "real arm: move each joint a little before it acts, after ~/start; first: where no record"
        " says that this was done; always; never",
        choices=CHOICES,
    )
    compares_description: bool = option(
        True,
        "real arm: hold it while robot_description, where somebody publishes it, describes another"
        " arm than the robot file",
    )
    switch_controllers: bool = option(
        False,
        "real arm: activate the controller of the commands where another is active, and restore"
        " that at the end",
    )
    enable_robot: bool = option(
        False,
        "Intera: ask a robot that is not enabled once to enable itself, before the first command;"
        " false: somebody else does",
    )
    key_file: str = option(
        "",
        "policies, progress and transitions are signed by the key in it, see 'sql-ros keygen';"
        " empty: they are not",
    )
    actor_id: int = option(
        0, "names this actor among several that feed one learner", minimum=0, maximum=2**31
    )
    most_transitions: int = option(
        0,
        "train: hold the arm when the run has so many transitions, those of earlier sessions"
        " included; 0: no limit",
        minimum=0,
    )
    learner_patience_s: float = option(
        60.0,
        "lockstep training waits so long for the learner, then says so and goes on [s]",
        minimum=0.0,
        live=True,
    )
    temperature: float = option(
        0.0,
        "play: 0 acts deterministically; otherwise actions are drawn as exp(Q / temperature), at"
        " most the policy's own temperature",
        minimum=0.0,
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
