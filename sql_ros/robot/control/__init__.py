"""From observation to command, on time."""
