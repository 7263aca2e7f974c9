"""Facts about the machine."""

import base64

from backfleet_host.agent.machine import machine_id


def test_a_machine_without_an_id_gets_a_random_one(tmp_path: object) -> None:
    """Of 32 hexadecimal digits."""
    drawn = machine_id(files=())
    assert len(drawn) == 32
    assert base64.b16decode(drawn.upper())
