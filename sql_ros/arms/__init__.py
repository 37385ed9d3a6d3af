"""Add an arm: write its files from its description, and check them in simulation."""
