"""The experiments of the papers, a module each: its cases, one run, and what the runs together
show.
"""
