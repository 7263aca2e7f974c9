"""Outside checks against real servers: whatever is not a clear yes is "no", within its time, and stays where it may."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backfleet import rollouts
from backfleet.outbound import Destinations
from rollouts.fleet import Fleet
from rollouts.outside import servers
from rollouts.outside.servers import Talk, says, serving

KEY = b"k" * 32
YES = says('{"proceed": true}')
ALLOWED = "gate.example.com, 127.0.0.0/8"


def value(*values: str) -> Talk:
    samples = [{"metric": {"host": str(n)}, "value": [1, each]} for n, each in enumerate(values)]
    return says(json.dumps({"status": "success", "data": {"resultType": "vector", "result": samples}}))


def allow(hosts: Fleet, allowed: str) -> None:
    """Have the server's settings allow destinations, and sign webhooks."""
    services = hosts.env.services
    settings = replace(services.settings, outbound_allowed=allowed, webhook_secret_file="secret")
    hosts.env.services = replace(services, settings=settings)


class Gate:
    """A rollout whose second ring has one outside check, and who asks it."""

    def __init__(self, hosts: Fleet, check: str, allowed: str = ALLOWED, **more: Any) -> None:
        self.hosts = hosts
        self.database, self.draw = hosts.env.services.database, hosts.env.services.draw
        allow(hosts, allowed)
        hosts.grow(4)
        text = hosts.policy().replace('name = "rest"', f'name = "rest"\ngates = [{check}]')
        self.rollout = hosts.ask("CreateRollout", Policy=text, Start="true")["RolloutId"]
        hosts.run(self.rollout, 4)
        self.asker = self.make(allowed, **more)

    def make(self, allowed: str, address: str = "127.0.0.1", **more: Any) -> rollouts.Asker:
        places = Destinations.read(allowed)
        more = {"seconds": 60.0, "resolve": lambda name, port: [address], **more}
        return rollouts.Asker(self.database, places, KEY, self.draw, **more)

    def waits(self) -> str:
        self.asker.run_once(self.hosts.now)
        self.hosts.step(5)
        found = self.hosts.show(self.rollout)
        return str(found["WaitsFor"]) if found["Rings"][1]["State"] == "pending" else ""


def hook(port: int, *, scheme: str = "http", more: str = "") -> str:
    return f'{{ kind = "webhook", url = "{scheme}://gate.example.com:{port}/go"{more} }}'


def query(port: int, bound: str = "below = 0.01") -> str:
    return f'{{ kind = "prometheus", url = "http://gate.example.com:{port}", query = "a/b{{x=\'1\'}}", {bound} }}'


def test_a_webhook_that_agrees_lets_the_ring_start(hosts: Fleet) -> None:
    """It is posted once a minute, and signed as Standard Webhooks says."""
    with serving(YES) as (port, asked):
        gate = Gate(hosts, hook(port))
        assert gate.waits() == ""
    head, _, body = asked[0].partition(b"\r\n\r\n")
    fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])}
    content = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.{body.decode()}".encode()
    expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    assert fields["webhook-signature"] == f"v1,{expected}"
    assert (head.split(b" ")[0], json.loads(body)["data"]["ring"]) == (b"POST", "rest")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (says('{"proceed": false}'), 'its answer is not {"proceed": true}'),
        (says('{"proceed": "true"}'), 'its answer is not {"proceed": true}'),
        (says("[" * 5000), "its answer is no JSON"),
        (says('{"proceed": true}', 202), "it answered 202"),
        (says("", 302, "Location: http://169.254.169.254/"), "it answered 302"),
        (servers.drips, "nothing whole came within 1 s"),
        (servers.drips_headers, "nothing whole came within 1 s"),
        (servers.is_huge, "the answer is longer than 65536 bytes"),
        (servers.closes, "no answer: "),
        (servers.breaks_off, "the answer breaks off"),
        (servers.is_no_http, "no answer: "),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_webhook_that_does_not_agree_is_no(sqlite_hosts: Fleet, talk: Talk, why: str) -> None:
    """Within its time, whatever it sends."""
    with serving(talk) as (port, _):
        gate = Gate(sqlite_hosts, hook(port), seconds=1.0 if "within 1 s" in why else 60.0)
        gate.asker.run_once(sqlite_hosts.now)
        sqlite_hosts.step(5)
        assert why in sqlite_hosts.show(gate.rollout)["WaitsFor"]


@pytest.mark.parametrize(
    ("talk", "bound", "why"),
    [
        (value("0.002"), "below = 0.01", ""),
        (value("0.5"), "above = 0.4", ""),
        (value("0.01"), "below = 0.01", "the query gives 0.01; it must be below 0.01"),
        (value(), "below = 1", "the query gives 0 values"),
        (value("0", "0"), "below = 1", "the query gives 2 values"),
        (value("NaN"), "below = 1", "the query gives nan"),
        (value("+Inf"), "above = 1", "the query gives inf"),
        (says('{"status": "success", "data": {"resultType": "string", "result": [1, "0"]}}'), "below = 1", "no number"),
        (says('{"status": "error", "error": "parse error"}'), "below = 1", "it refuses the query: parse error"),
        (says("<html>"), "below = 1", "its answer is none of Prometheus"),
        (says("busy", 503), "below = 1", "it answered 503"),
    ],
)
def test_a_query_holds_only_with_one_number_within_its_bound(
    sqlite_hosts: Fleet, talk: Talk, bound: str, why: str
) -> None:
    """Several, none, and what is no number are "no"."""
    with serving(talk) as (port, asked):
        found = Gate(sqlite_hosts, query(port, bound)).waits()
    assert why in found if why else found == ""
    assert asked[0].startswith(b"GET /api/v1/query?query=a%2Fb%7Bx%3D%271%27%7D HTTP/1.1\r\n")


def test_an_answer_that_is_too_old_is_none(hosts: Fleet) -> None:
    """Where a gate watches, nobody begins until it is asked again; when nobody answers then, the ring halts."""
    with serving(YES) as (port, _):
        gate = Gate(hosts, hook(port, more=", watch = true"))
        hosts.silent |= {hosts.instance_of(client) for client in hosts.members(gate.rollout)}
        assert gate.waits() == ""
    hosts.at += timedelta(minutes=6).total_seconds()
    hosts.decide()
    found = hosts.show(gate.rollout)
    assert (found["State"], found["WaitsFor"]) == ("running", "webhook: no answer yet")
    gate.asker.run_once(hosts.now)
    hosts.decide()
    found = hosts.show(gate.rollout)
    assert (found["State"], "webhook: no answer: " in found["Reason"]) == ("halted", True)


def test_a_resume_asks_a_gate_that_watches_anew(hosts: Fleet) -> None:
    """Neither the answer that halted it counts, nor that nobody was asked since: also long after the halt."""
    with serving(YES) as (port, _):
        gate = Gate(hosts, hook(port, more=", watch = true"))
        hosts.silent |= {hosts.instance_of(client) for client in hosts.members(gate.rollout)}
        assert gate.waits() == ""
        hosts.at += 61
        yes, gate.asker = gate.asker, gate.make("elsewhere.example.com")
        gate.asker.run_once(hosts.now)
        hosts.decide()
        assert hosts.show(gate.rollout)["State"] == "halted"
        hosts.helpers.run_worker(hosts.at)
        for passed in (1, 3600):
            hosts.at += passed
            hosts.ask("ResumeRollout", RolloutId=gate.rollout)
            hosts.decide()
            found = hosts.show(gate.rollout)
            assert (found["State"], found["WaitsFor"]) == ("running", "webhook: no answer yet")
            gate.asker.run_once(hosts.now)
            hosts.decide()
            assert hosts.show(gate.rollout)["State"] == "halted"
        hosts.ask("ResumeRollout", RolloutId=gate.rollout)
        yes.run_once(hosts.now)
        hosts.silent.clear()
        found = hosts.run(gate.rollout)
        assert found["State"] == "completed", [each["Reason"] for each in hosts.members(gate.rollout).values()]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "100.100.100.200"])
def test_a_name_that_turns_into_an_inner_address_is_not_asked(sqlite_hosts: Fleet, address: str) -> None:
    """Loopback, link-local and shared space only if a network of the settings has them."""
    with serving(YES) as (port, asked):
        gate = Gate(sqlite_hosts, hook(port), "gate.example.com", address=address)
        assert "no network of `outbound_allowed` has that" in gate.waits()
    assert asked == []


def test_a_name_is_resolved_once_and_that_address_is_asked(sqlite_hosts: Fleet) -> None:
    """A name server that gives another address the second time leads nowhere else."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    with serving(YES) as (port, asked):
        gate = Gate(sqlite_hosts, hook(port), resolve=lambda name, port: [next(answers)])
        assert gate.waits() == ""
    assert len(asked) == 1
    assert next(answers) == "127.0.0.2"


def test_a_certificate_is_believed_only_from_the_settings_authority(sqlite_hosts: Fleet, tmp_path: Path) -> None:
    """And only for the name that the policy asks."""
    ours, context = servers.make_certificate(tmp_path, "gate.example.com")
    other, wrong = servers.make_certificate(tmp_path, "other.example.com")
    with serving(YES, context) as (port, _), serving(YES, wrong) as (elsewhere, _):
        gate = Gate(sqlite_hosts, hook(port, scheme="https"))
        assert "CERTIFICATE_VERIFY_FAILED" in gate.waits()
        sqlite_hosts.at += 61
        gate.asker = gate.make(ALLOWED, authority=str(ours))
        assert gate.waits() == ""
        gate = Gate(sqlite_hosts, hook(elsewhere, scheme="https"), authority=str(other))
        assert "CERTIFICATE_VERIFY_FAILED" in gate.waits()


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example.com/",
        "http://gate.example.com.evil.org/",
        "http://user:pass@gate.example.com/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
    ],
)
def test_a_gate_whose_destination_is_not_allowed_is_a_fault(sqlite_hosts: Fleet, url: str) -> None:
    """The policy is refused when it is applied, with the line of what would do."""
    hosts = sqlite_hosts
    allow(hosts, ALLOWED)
    hosts.grow(4)
    check = f'{{ kind = "webhook", url = "{url}" }}'
    text = hosts.policy().replace('name = "rest"', f'name = "rest"\ngates = [{check}]')
    (fault,) = hosts.ask("PreviewRollout", Policy=text)["Faults"]
    assert (fault["Key"], fault["Found"]) == ("ring[1].gates[0].url", url)


def test_checks_that_the_server_cannot_ask_are_faults(sqlite_hosts: Fleet) -> None:
    """A webhook without a secret, a query without an address."""
    sqlite_hosts.grow(4)
    checks = '{ kind = "webhook", url = "http://gate.example.com/" }, { kind = "prometheus", query = "up", below = 1 }'
    text = sqlite_hosts.policy().replace('name = "rest"', f'name = "rest"\ngates = [{checks}]')
    faults = sqlite_hosts.ask("PreviewRollout", Policy=text)["Faults"]
    assert [fault["Found"] for fault in faults] == ["a `webhook` gate", "http://gate.example.com/", "no url"]
