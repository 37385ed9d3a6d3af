"""The message layouts of sql_ros. They use standard message types only.

The labels of an array's dimensions have the version of the layout and the names of the values:

====================  ======================  ======================================================
topic                 type                    content
====================  ======================  ======================================================
joint_states          JointState              state of the arm, read by joint name, see
                                              `state_reader.py`
~/commands            Float64MultiArray       one value per joint in command order; dim 0 labels
                                              mode and joints, dim 1 (optional) the stamp of the
                                              state that the command answers; `adapters.py` has
                                              other types
replay                Float64MultiArray       one transition: `TRANSITION_FIELDS`, observation,
                                              action, next observation
policy                UInt8MultiArray         an ONNX file; dim 0 labels its SHA-256
actor/goal            PoseStamped             wanted position of the tool, in mode play; see
                                              `goal_intake.py`
actor/goal_status     String                  result of the goal, latched
learner/progress      UInt64MultiArray        `PROGRESS_FIELDS`, and the acknowledged sequence
                                              number of every actor process; dim 1 labels the
                                              session; sent while the learner is active
actor/episodes        Float64MultiArray       `EPISODE_FIELDS`
target                PoseStamped             target of the episode that begins, in the base frame;
                                              a simulation puts its goal there
objects/<name>        PoseStamped             pose of an object in the base frame; see
                                              `object_intake.py`
reset_request/<name>  PoseStamped             where an object is to be placed
sim_bridge/disturb    Float64MultiArray       `DISTURBANCE_FIELDS`; dim 1 labels kind and body;
                                              applied to the simulated arm at once
/sql_ros/claims       UInt64MultiArray        `CLAIM_FIELDS`; dims 1 to 4 label node, command topic,
                                              session and process
trials/prompt         String                  what an operator is to do now; empty: nothing
====================  ======================  ======================================================

`<x>_to_msg` converts to a message. `<x>_from_msg` checks a message and converts it back. It raises
`MessageError` for a wrong length, an unknown version, another schema, and a value that is not
finite or too large for the networks. Nothing is unpickled.
"""

from sql_ros.nodes.messages.arm import (
    clock_to_msg,
    command_from_msg,
    command_to_msg,
    read_answers,
    stamp_to_msg,
    state_to_msg,
    target_from_msg,
    target_to_msg,
)
from sql_ros.nodes.messages.claims import (
    CLAIM_FIELDS,
    CLAIM_LABEL,
    CLAIM_TEXTS,
    LONGEST_LABEL,
    claim_from_msg,
    claim_to_msg,
)
from sql_ros.nodes.messages.disturbances import (
    DISTURBANCE_FIELDS,
    disturbance_from_msg,
    disturbance_to_msg,
)
from sql_ros.nodes.messages.episodes import EPISODE_FIELDS, episode_from_msg, episode_to_msg
from sql_ros.nodes.messages.policies import policy_from_msg, policy_to_msg
from sql_ros.nodes.messages.progress import (
    PROGRESS_FIELDS,
    PROGRESS_LABEL,
    Progress,
    progress_from_msg,
    progress_to_msg,
)
from sql_ros.nodes.messages.transitions import (
    LOCKSTEP_TRANSITIONS,
    TRANSITION_FIELDS,
    ReplayEntry,
    TransitionCodec,
)

__all__ = [
    "CLAIM_FIELDS",
    "CLAIM_LABEL",
    "CLAIM_TEXTS",
    "DISTURBANCE_FIELDS",
    "EPISODE_FIELDS",
    "LOCKSTEP_TRANSITIONS",
    "LONGEST_LABEL",
    "PROGRESS_FIELDS",
    "PROGRESS_LABEL",
    "TRANSITION_FIELDS",
    "Progress",
    "ReplayEntry",
    "TransitionCodec",
    "claim_from_msg",
    "claim_to_msg",
    "clock_to_msg",
    "command_from_msg",
    "command_to_msg",
    "disturbance_from_msg",
    "disturbance_to_msg",
    "episode_from_msg",
    "episode_to_msg",
    "policy_from_msg",
    "policy_to_msg",
    "progress_from_msg",
    "progress_to_msg",
    "read_answers",
    "stamp_to_msg",
    "state_to_msg",
    "target_from_msg",
    "target_to_msg",
]
