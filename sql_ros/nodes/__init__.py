"""The ROS 2 nodes. rclpy and message types live here only; a node wires, it never computes."""

import signal
import sys

if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # a node's process that is still importing, before run_node takes signals: it ends without a traceback, which would bury why
    signal.signal(signal.SIGINT, signal.SIG_DFL)
