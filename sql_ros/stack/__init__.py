"""What makes a stack: launch arguments, processes with their parameters, checks before the start, the supervisor."""
