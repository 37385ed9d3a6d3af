"""The safety filter with its models, and the reasons to hold an arm."""
