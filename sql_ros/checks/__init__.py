"""Checks of the whole stack from outside, over DDS."""
