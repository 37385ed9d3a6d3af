"""The ROS 2 nodes. Only this package and `checks` import rclpy and message types.

A node connects topics, services and threads; other packages compute.
"""

import signal
import sys

if sys.argv[0] == "-m":  # the process of a node, during its imports
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN):
        # Until `run_node` installs its handlers, SIGINT ends the process by default. With Python's
        # handler an import could swallow the KeyboardInterrupt, and a traceback would hide the
        # reason. A shell script that starts the node in its background has SIGINT ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sql_ros.common.child_process import end_with_named_parent

    end_with_named_parent()
