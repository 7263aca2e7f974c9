"""Tasks on this host: each is accepted once, carried out in a process of its own, and reported until acknowledged.

Owns `<root>/agent/tasks/` (one folder for each task) and `<root>/agent/program/`.
"""
