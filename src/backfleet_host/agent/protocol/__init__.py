"""The protocol between agent and server: requests, signatures, the notify socket, task lists, reports, heartbeats.

Knows nothing of how tasks are carried out.
"""
