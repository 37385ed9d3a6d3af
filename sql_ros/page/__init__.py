"""The operator's page: what it shows of a stack, and the server that sends it. No ROS here."""
