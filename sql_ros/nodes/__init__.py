"""The ROS 2 nodes. rclpy and message types live here only; a node wires, it never computes."""

import signal
import sys

from sql_ros.core.parent import end_with_named_parent

if sys.argv[0] == "-m":  # a node's process, which is still importing
    end_with_named_parent()
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN):
        # Until run_node takes signals the process ends without a traceback, which would bury why.
        # A script that starts the node in its background has SIGINT ignored: it would be lost.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
