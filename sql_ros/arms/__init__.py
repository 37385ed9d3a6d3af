"""Bring an arm: check its files, and write them from its description."""
