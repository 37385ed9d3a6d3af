"""The task file of a user's own task that observes an object."""

from pathlib import Path

PUSH = str(Path(__file__).parent / "push" / "push.yaml")
