"""Messages on the notify socket, and their answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet_host.agent.protocol.kicks import read_kick


@pytest.mark.parametrize(
    ("message", "reply", "fetch", "task_id"),
    [
        ("kick_vm", "accept", True, ""),
        ("kick_vm task run t-1", "accept", True, "t-1"),
        ("kick_vm task stop t-1", "accept", True, "t-1"),
        ("kick_vm file create f-1", "accept", True, "f-1"),
        ("foo task run t-1", "accept", True, "t-1"),
        ("kick_vm noop", "accept", False, ""),
        ("kick_vm noop 42", "accept", False, ""),
        ("kick_vm task", "unknow", False, ""),
        ("kick_vm task run", "unknow", False, ""),
        ("kick_vm task run t-1\n", "unknow", False, ""),
        ("kick_vm  task run t-1", "unknow", False, ""),
        ("kick_vm task run a&b=c", "unknow", False, ""),
        ("kick_vm session start s-1", "unknow", False, ""),
        ("kick_vm agent deregister", "unknow", False, ""),
        ("kick_vm agent stop", "unknow", False, ""),
        ("", "unknow", False, ""),
    ],
)
def test_each_kick_has_its_answer(message: str, reply: str, fetch: bool, task_id: str) -> None:
    """Each form of the protocol page, and those that are ignored on purpose."""
    kick = read_kick(message)
    assert (kick.reply, kick.fetch, kick.task_id) == (f"{reply}:{message}", fetch, task_id)


@given(st.text())
def test_any_message_has_an_answer(message: str) -> None:
    """Nothing that the server sends can make the agent ignore later messages."""
    assert read_kick(message).reply.startswith(("accept:", "unknow:"))
