"""Which clients or hosts a command means: names, ids and conditions against what the server has. Pure.

Names, ids and the lines of a file add up. Tags and an expression narrow what these name; where nothing is named, they
choose from everything. `--all` names everything.
"""

import difflib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from backfleet.filter_expressions import Expression, Subject
from backfleet.values import value_object
from backfleet_host.contract import OWN_AGENT

INSTANCE_PREFIXES: Final = ("mi-", "i-")
CLIENT_PREFIX: Final = "c-"
HOST_FIELDS: Final = frozenset({"name", "hostname", "instance", "os", "address", "host_version"})
CLIENT_FIELDS: Final = HOST_FIELDS | {
    "client", "package", "version", "newest", "offer", "channel", "status", "platform"
}  # fmt: skip
SUGGESTIONS: Final = 3
_SHOWN: Final = 3  # of the hosts that one name has


@value_object
class Target:
    """A client, or a host where `client_id` is empty."""

    instance_id: str
    name: str
    hostname: str
    client_id: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)  # for expressions
    tags: Mapping[str, str] = field(default_factory=dict)
    scheme: str = ""

    @property
    def id(self) -> str:
        """What a call names it by."""
        return self.client_id or self.instance_id

    @property
    def label(self) -> str:
        """What people know its host by."""
        return self.name or self.hostname or self.instance_id


@value_object
class Named:
    """One name or id, and where it was given, such as `hosts.txt:3`."""

    text: str
    place: str = ""


@value_object
class Wanted:
    """What a caller asked for."""

    names: tuple[Named, ...] = ()
    tags: tuple[tuple[str, str | None], ...] = ()  # a key, and its value; None = any
    where: Expression | None = None
    everything: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for at all."""
        return not (self.names or self.tags or self.where or self.everything)

    @property
    def is_by_id(self) -> bool:
        """Whether it names ids only: then a call can take them as they are."""
        return bool(self.names) and not (self.tags or self.where or self.everything) and all(map(_is_id, self.texts))

    @property
    def texts(self) -> list[str]:
        """The names and ids, each once."""
        return list(dict.fromkeys(each.text for each in self.names))


@value_object
class Chosen:
    """What is meant, and for people what is wrong: with a fault nothing is to be done at all."""

    targets: tuple[Target, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose(wanted: Wanted, known: Sequence[Target], bare: Sequence[Target] = ()) -> Chosen:
    """Return the targets that are meant, each once, in the order of `known`.

    Args:
        wanted: what was asked for.
        known: every client, or every host.
        bare: hosts without a client, where clients are chosen: a name of theirs gets another fault.
    """
    named, faults = _named(wanted.names, known, bare) if wanted.names else ({each.id for each in known}, [])
    if faults:
        return Chosen((), tuple(faults))
    candidates = [each for each in known if each.id in named]
    tagged = [each for each in candidates if _has_tags(each, wanted.tags)]
    answers = [(each, _holds(each, wanted.where)) for each in tagged]
    targets = tuple(each for each, holds in answers if holds)
    unclear = sum(holds is None for _, holds in answers)
    notes = []
    if unclear:
        notes.append(f"{unclear} left out: their version cannot be compared with what --where names")
    if targets and wanted.names and len(targets) + unclear < len(candidates):
        notes.append(f"{len(candidates) - len(targets) - unclear} of those named left out by --tag or --where")
    return Chosen(targets, (), tuple(notes))


def client_of(answer: Mapping[str, Any]) -> Target:
    """Return one of the Clients of DescribeBackupClients as a target."""

    fields = fields_of(answer)
    tags = {str(tag.get("Key")): str(tag.get("Value")) for tag in answer.get("Tags") or []}
    return Target(
        fields["instance"],
        fields["name"],
        fields["hostname"],
        fields["client"],
        fields,
        tags,
        str(answer.get("VersionScheme") or ""),
    )


def fields_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known of one of the Clients of DescribeBackupClients, by the names of CLIENT_FIELDS."""

    def text(name: str) -> str:
        return str(answer.get(name) or "")

    return {
        "name": text("InstanceName"), "hostname": text("Hostname"), "instance": text("InstanceId"),
        "client": text("ClientId"), "package": text("PackageName"), "version": text("ClientVersion"),
        "newest": text("MaxClientVersion"), "offer": text("OfferState").lower(), "channel": text("Channel"),
        "status": text("Status"), "os": text("OsType"), "platform": f"{text('OsType')}-{text('ArchType')}",
        "address": text("PrivateIpV4"), "host_version": text("HostVersion"),
    }  # fmt: skip


def host_version_in(answer: Mapping[str, Any]) -> str:
    """Return the version of the host program on one of the Instances of DescribeManagedInstances; "" for others."""
    agent = str(answer.get("AgentVersion") or "")
    return agent.removeprefix(OWN_AGENT) if agent.startswith(OWN_AGENT) else ""


def host_of(answer: Mapping[str, Any]) -> Target:
    """Return one of the Instances of DescribeManagedInstances as a target."""

    def text(name: str) -> str:
        return str(answer.get(name) or "")

    fields = {
        "name": text("InstanceName"), "hostname": text("Hostname"), "instance": text("InstanceId"),
        "os": text("OsType").lower(), "address": text("IntranetIp"),
        "host_version": host_version_in(answer),
    }  # fmt: skip
    tags = {str(tag.get("TagKey")): str(tag.get("TagValue")) for tag in answer.get("Tags") or []}
    return Target(fields["instance"], fields["name"], fields["hostname"], "", fields, tags)


def split(ids: Sequence[str], most: int) -> list[list[str]]:
    """Return ids in as few parts as a call can take, of about the same size: none is a lonely rest."""
    count = -(-len(ids) // most)
    ends = [number * len(ids) // count for number in range(count + 1)] if count else []
    return [list(ids[start:end]) for start, end in itertools.pairwise(ends)]


def _is_id(text: str) -> bool:
    return text.startswith((*INSTANCE_PREFIXES, CLIENT_PREFIX))


def _named(names: Iterable[Named], known: Sequence[Target], bare: Sequence[Target]) -> tuple[set[str], list[str]]:
    """Return the ids of the targets that names mean, and a fault for each that means none, or several hosts."""
    index = _index(known)
    without = _index(bare)
    found: set[str] = set()
    faults: dict[str, None] = {}
    for each in names:
        targets = index.get(each.text, [])
        hosts = list(dict.fromkeys(target.instance_id for target in targets))
        place = f"{each.place}: " if each.place else ""
        if len(hosts) == 1:
            found.update(target.id for target in targets)
        elif hosts:
            faults[f"{place}{each.text} is the name of {len(hosts)} hosts: {_shown(targets)}; give an id"] = None
        elif each.text in without:
            faults[f"{place}{each.text} has no backup client; `backfleet client install {each.text}` installs one"] = (
                None
            )
        else:
            faults[f"{place}there is no host or client {each.text!r}{_suggestion(each.text, index, without)}"] = None
    return found, list(faults)


def _index(targets: Iterable[Target]) -> dict[str, list[Target]]:
    """Return targets by every name and id that they have."""
    index: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        for name in {target.instance_id, target.client_id, target.name, target.hostname} - {""}:
            index[name].append(target)
    return dict(index)


def _shown(targets: Sequence[Target]) -> str:
    hosts = {target.instance_id: target for target in targets}
    first = [f"{each.instance_id} ({each.name}, {each.hostname})" for each in list(hosts.values())[:_SHOWN]]
    more = len(hosts) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def _suggestion(name: str, *indexes: Mapping[str, object]) -> str:
    known = [each for index in indexes for each in index if _is_id(each) == _is_id(name)]
    close = difflib.get_close_matches(name, known, SUGGESTIONS)
    same = [each for each in known if each.casefold() == name.casefold()]
    found = list(dict.fromkeys([*same, *close]))[:SUGGESTIONS]
    return f"; is {' or '.join(found)} meant?" if found else ""


def _has_tags(target: Target, tags: Sequence[tuple[str, str | None]]) -> bool:
    """Return whether a target has, of every key, one of the values that were given for it."""
    wanted: dict[str, set[str | None]] = defaultdict(set)
    for key, value in tags:
        wanted[key].add(value)
    return all(key in target.tags and (None in values or target.tags[key] in values) for key, values in wanted.items())


def tags_of_none(wanted: Sequence[tuple[str, str | None]], known: Sequence[Target]) -> list[str]:
    """Return for people each tag of these that no target has, with those that are meant perhaps."""
    there = {f"{key}={value}" for each in known for key, value in each.tags.items()}
    keys = {key for each in known for key in each.tags}
    found = []
    for key, value in wanted:
        text, among = (key, keys) if value is None else (f"{key}={value}", there)
        if text not in among:
            found.append(f"none has the tag {text}{_suggestion(text, dict.fromkeys(sorted(among)))}")
    return found


def _holds(target: Target, where: Expression | None) -> bool | None:
    return True if where is None else where.holds(Subject(target.fields, target.tags, target.scheme))
