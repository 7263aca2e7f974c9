"""A Cloud Assistant agent in Python: enrol, heartbeat, fetch, run, report.

It speaks the wire of the official agent (`aliyun_assist_client`) and does better where a server built for that one
cannot mind: it fetches after every reconnect, never gives up, keeps final reports until they are acknowledged, and what
it carries out runs in processes of their own that survive it.

Owns `<root>/agent/`. Verbs: `enrolment.enrol`, `running.run`, `standing.standing`; `carry_out.main` is the separate
process. Nothing is imported here: that process must start in a few milliseconds.
"""
