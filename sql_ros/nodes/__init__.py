"""The ROS 2 nodes. rclpy and message types live here only; a node wires, it never computes."""

import signal
import sys

if sys.argv[0] == "-m":  # the process of a node, during its imports
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN):
        # Until run_node handles signals, SIGINT ends the process without a traceback, which would
        # hide the reason, and no import can swallow a KeyboardInterrupt. A script that starts the
        # node in its background has SIGINT ignored: it would be lost.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sql_ros.common.child_process import end_with_named_parent

    end_with_named_parent()
