"""The control step: from observation to command, and when a step is made."""
