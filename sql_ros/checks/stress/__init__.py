"""Kills, cuts, hostile input and signals at random moments."""
