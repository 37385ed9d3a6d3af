"""Stops of a moving arm while something hinders its actor."""
