"""The stack, that is the processes that run together: their description, checks before their start,
and the supervisor of `sql-ros up`.
"""
