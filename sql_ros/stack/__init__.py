"""Description, checks and supervision of a stack: launch arguments, processes with their
parameters, checks before the start, the supervisor of `sql-ros up`.
"""
