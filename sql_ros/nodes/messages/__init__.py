"""Every message layout of sql_ros: standard types only, with a version and the names of the values
in the dimension labels.

====================  ======================  =====================================================================
topic                 type                    content
====================  ======================  =====================================================================
joint_states          JointState              the arm; mapped by joint name, see `state_reader.py`
~/commands            Float64MultiArray       one value per joint in command order; dim 0 labels mode and joints, dim 1
                                              (optional) the stamp of the state it answers; other
                                              types: `adapters.py`
replay                Float64MultiArray       one transition: `TRANSITION_FIELDS`, observation, action, next observation
policy                UInt8MultiArray         an ONNX file; dim 0 labels its SHA-256
actor/goal            PoseStamped             wanted position of the tool, in mode play; see `goal_intake.py`
actor/goal_status     String                  result of the goal, latched
learner/progress      UInt64MultiArray        `PROGRESS_FIELDS`, and what is acknowledged of every actor process; dim 1 labels the
                                              session. It is sent while the learner is active, so
                                                  that
                                              it has accepted the run
actor/episodes        Float64MultiArray       `EPISODE_FIELDS`
target                PoseStamped             of the episode that begins, in the base frame; a simulation puts its goal there
sim_bridge/disturb    Float64MultiArray       `DISTURBANCE_FIELDS`; dim 1 labels its kind and the body; acts on the simulated arm at once
/sql_ros/claims       UInt64MultiArray        `CLAIM_FIELDS`; dims 1 to 4 label node, command topic, session and process: a sign of life
trials/prompt         String                  what an operator is to do now; empty: nothing
====================  ======================  =====================================================================

`<x>_to_msg` converts to a message. `<x>_from_msg` checks a message, and raises `MessageError` for a
wrong length, a value that is not finite or too large for the networks, an unknown version, and
another schema. Nothing is unpickled.
"""  # noqa: E501

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
