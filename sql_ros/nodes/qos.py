"""The quality of service of every topic, one profile for each purpose of a topic."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

# Only the newest value matters, and a lost one is not sent again: joint states of a real arm. The
# depth keeps a state of the arm when a gripper publishes on the same topic right after it.
SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT
)
# No message may be lost between running processes: states and commands in lockstep, progress.
RELIABLE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE
)
# A late subscriber receives the newest message: the policy.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# A late subscriber receives the newest message of each of many publishers: claims.
LATCHED_BY_MANY = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# A late subscriber receives the newest message, and of several at once all arrive: goal status.
NEWS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# A late or restarted subscriber receives the last 5000 messages: replay, episodes. A learner drops
# those that it has, by their sequence numbers.
REPLAY = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=5000,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
