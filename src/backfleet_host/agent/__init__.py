"""A Cloud Assistant agent in Python: enrols the host, fetches tasks, carries them out and reports on them.

It speaks the protocol of the official agent (`aliyun_assist_client`). It differs only where a server made for that one
does not notice: it fetches after every reconnect, never gives up, keeps final reports until they are acknowledged, and
runs each task in a process of its own that survives the agent.

Owns `<root>/agent/`. Verbs:

- `setup.enrolment.enrol` registers the host with a server
- `running.run` is the agent, until it is told to end
- `status.status` returns what `backfleet-host status` shows of the agent
- `execution.task_process.main` is the process that carries out one task

This package imports nothing by itself: a task's process must start within milliseconds.
"""
