"""The papers' experiments. Each module has the cases, one run, and a finding from all runs."""
