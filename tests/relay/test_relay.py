"""A relay fetches each thing once, whatever the line does, and keeps no more than it may."""

import hashlib
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

import pytest
from prometheus_client import REGISTRY
from tuf.api.metadata import TargetFile

from backfleet.certificates import prepare_certificates
from backfleet.relay import Cache, CacheInUse
from backfleet.relay._fetching import Fetching
from backfleet_host.platforms import platform_here
from host.upgrader.fake_repository import begin_answer
from mounts import mounted
from relay.conftest import SIZE, Site, carry, relaying

NOBODY = "http://127.0.0.1:9"  # the discard port, where nobody listens


def get(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Ask a relay."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=20) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as problem:
        with problem:
            return problem.code, problem.read()


def artifact_of(site: Site) -> str:
    return next(path for path in site.offering.files if path.startswith("targets/"))


def cut_line(site: Site) -> None:
    """Let no request reach the server any more."""

    def drop(handler: Any, path: str) -> bool:
        handler.connection.close()
        return True

    site.server.misbehave = drop


def test_fifty_hosts_that_ask_at_once_cost_one_download(site: Site) -> None:
    """Over a line of 2 MB/s. Each document comes once too, but for the timestamp, which must be current."""
    site.offering.add("2.0", padding=2_000_000)

    def thin(handler: Any, path: str) -> bool:
        if not path.startswith("targets/"):
            return False
        content = site.server.files[path]
        begin_answer(handler, 0, len(content))
        for begin in range(0, len(content), 200_000):
            handler.wfile.write(content[begin : begin + 200_000])
            threading.Event().wait(0.1)
        return True

    site.server.misbehave = thin
    with relaying(site):
        hosts = [site.host(f"host-{number}") for number in range(50)]
        with ThreadPoolExecutor(25) as threads:
            reports = list(threads.map(lambda host: carry(host, version="2.0"), hosts))
    assert [(report.outcome, report.details.get("relays_failed")) for report in reports] == [("succeeded", None)] * 50
    assert site.artifacts_sent() == [""]
    documents = [path for path, _ in site.server.asked if path.startswith("metadata/") and "timestamp" not in path]
    assert len([path for path in documents if "root" not in path]) == 2


def test_a_line_that_is_cut_in_the_middle_is_gone_on_with(site: Site) -> None:
    """What came is kept; the host notices nothing."""
    left = [2]

    def cut(handler: Any, path: str) -> bool:
        if not path.startswith("targets/") or not left[0]:
            return False
        left[0] -= 1
        content, asked = site.server.files[path], handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        begin_answer(handler, start, len(content))
        handler.wfile.write(content[start : start + 150_000])
        handler.wfile.flush()
        handler.connection.shutdown(2)
        return True

    site.server.misbehave = cut
    with relaying(site):
        report = carry(site.host("one"))
    assert (report.outcome, report.details.get("relays_failed")) == ("succeeded", None)
    first, second, third = site.artifacts_sent()
    assert first == ""
    assert 0 < int(second[6:-1]) < int(third[6:-1]) <= 300_000


def test_a_part_is_gone_on_with_after_a_restart(site: Site) -> None:
    path = artifact_of(site)
    content = site.offering.files[path]
    sha256 = path.rsplit("/", 1)[-1].partition(".")[0]
    with relaying(site):
        pass
    (site.folder / "cache" / "parts" / sha256).write_bytes(content[:100_000])
    with relaying(site) as address:
        assert get(address, f"/downloads/{path}") == (200, content)
    assert site.artifacts_sent() == ["bytes=100000-"]


def test_a_damaged_part_is_never_handed_out_whole(site: Site) -> None:
    """The last byte waits for the verdict; the next request fetches it afresh."""
    path = artifact_of(site)
    content = site.offering.files[path]
    sha256 = path.rsplit("/", 1)[-1].partition(".")[0]
    with relaying(site):
        pass
    (site.folder / "cache" / "parts" / sha256).write_bytes(b"x" * 100_000)
    with relaying(site) as address:
        with pytest.raises(OSError, match=r"IncompleteRead|reset|closed|aborted"):
            _read(address, path)
        assert get(address, f"/downloads/{path}") == (200, content)


def _read(address: str, path: str) -> bytes:
    try:
        return get(address, f"/downloads/{path}")[1]
    except HTTPException as problem:
        raise OSError(f"{type(problem).__name__}: {problem}") from None


def test_what_is_here_is_served_while_the_line_is_down(site: Site) -> None:
    """Also by a relay that was started meanwhile, and to a host that cannot reach the server itself."""
    with relaying(site):
        assert carry(site.host("first")).outcome == "succeeded"
    cut_line(site)
    with relaying(site):
        report = carry(site.host("second", server=NOBODY))
    assert report.outcome == "succeeded", report.message


def test_metadata_that_has_expired_is_not_served_while_the_line_is_down(site: Site) -> None:
    with relaying(site) as address:
        assert carry(site.host("first")).outcome == "succeeded"
        cut_line(site)
        site.clock = lambda: datetime.now(UTC) + timedelta(days=8)
        threading.Event().wait(1.1)  # a relay does not ask again within a second
        status, text = get(address, "/downloads/metadata/timestamp.json")
    assert status == 504
    assert b"the relay's server is away" in text


def test_a_new_release_is_seen_at_once(site: Site) -> None:
    """A host is never refused because a relay's metadata is a second old: it asks the server then."""
    with relaying(site):
        host = site.host("one")
        assert carry(host).outcome == "succeeded"
        site.offering.add("2.0", padding=SIZE)
        report = carry(host, "upgrade", "2.0")
    assert (report.outcome, report.details.get("relays_failed")) == ("succeeded", None)


def test_the_least_recently_used_artifact_makes_place_for_another(site: Site) -> None:
    site.offering.add("2.0", padding=SIZE)
    site.offering.add("3.0", padding=SIZE)
    paths = sorted(path for path in site.offering.files if path.startswith("targets/"))
    with relaying(site, most_bytes=2 * SIZE + 200_000) as address:
        for path in (paths[0], paths[1], paths[0], paths[2]):
            assert get(address, f"/downloads/{path}") == (200, site.offering.files[path])
        asked = len(site.artifacts_sent())
        assert get(address, f"/downloads/{paths[0]}")[0] == 200
        assert len(site.artifacts_sent()) == asked  # it was used last but one
        kept = sum(one.stat().st_size for one in (site.folder / "cache").rglob("*") if one.parent.name == "artifacts")
    assert kept <= 2 * SIZE + 200_000


def test_an_artifact_that_is_larger_than_the_cache_comes_from_the_server(site: Site) -> None:
    with relaying(site, most_bytes=SIZE // 2) as address:
        status, text = get(address, f"/downloads/{artifact_of(site)}")
        assert (status, b"raise --size" in text) == (507, True)
        report = carry(site.host("one"))
    assert report.outcome == "succeeded"
    assert report.details["relays_failed"][address]["reason"] == "NotServed"


def test_a_disk_that_is_full_costs_a_host_the_way_to_the_server(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Others fill it, before a download or during one. Once there is space, the relay serves again."""
    with mounted(site.folder / "cache", f"size={2 * SIZE}") as disk, relaying(site) as address:
        other = disk / "of another program"
        other.write_bytes(bytes(SIZE + SIZE // 2))
        report = carry(site.host("before"))
        assert report.outcome == "succeeded"
        assert report.details["relays_failed"][address]["reason"] == "NotServed"
        other.unlink()
        take_over = Fetching._take_over_part

        def fill(self: Fetching) -> None:
            take_over(self)
            other.write_bytes(bytes(SIZE + SIZE // 2))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Fetching, "_take_over_part", fill)
            report = carry(site.host("during"))
        assert report.outcome == "succeeded"
        assert address in report.details["relays_failed"]
        assert "the disk of the cache does not take it: No space left on device" in caplog.text
        assert "trying again" not in caplog.text  # the host would wait for it
        other.unlink()
        report = carry(site.host("after"))
        assert (report.outcome, report.details.get("relays_failed")) == ("succeeded", None)


def test_the_least_used_makes_place_also_where_the_disk_has_less_than_the_size(site: Site) -> None:
    site.offering.add("2.0", padding=SIZE)
    paths = sorted(path for path in site.offering.files if path.startswith("targets/"))
    with mounted(site.folder / "cache", f"size={SIZE + SIZE // 2}"), relaying(site) as address:
        for path in (paths[0], paths[1], paths[0]):
            assert get(address, f"/downloads/{path}") == (200, site.offering.files[path])


@pytest.mark.parametrize(
    "path",
    [
        f"targets/courier/1.0/{'0' * 64}.linux-x86_64",
        "targets/courier/1.0/../../../../etc/passwd",
        "targets/x",
        "metadata/passwd",
        "metadata/0.root.json",
        "metadata/1.root.json.part",
        "metadata/..%2f..%2fetc%2fpasswd",
        "ca.pem",
    ],
)
def test_what_no_release_names_never_reaches_the_server(site: Site, path: str) -> None:
    """Otherwise anybody at the site could fill the line with questions for nothing."""
    with relaying(site) as address:
        for _ in range(3):
            assert get(address, f"/downloads/{path}")[0] == 404
    assert not [asked for asked, _ in site.server.asked if not asked.startswith("metadata/")]
    assert len([asked for asked, _ in site.server.asked if "timestamp" not in asked]) <= 2  # what there is
    assert len(site.server.asked) <= 5  # once a second it is asked whether that is still so


def test_a_document_that_is_not_there_is_asked_for_once_a_second(site: Site) -> None:
    with relaying(site) as address, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: get(address, "/downloads/metadata/77.root.json")[0], range(40)))
    assert set(answers) == {404}
    assert len(site.server.asked) <= 8


def test_names_that_are_not_there_are_asked_for_ten_at_a_time(site: Site) -> None:
    """Whatever names somebody at the site thinks of; what is refused says that it may be asked again."""
    with relaying(site) as address, ThreadPoolExecutor(8) as threads:
        began = time.monotonic()
        names = [f"/downloads/metadata/{number}.root.json" for number in range(100, 160)]
        answers = list(threads.map(lambda name: get(address, name)[0], names))
        seconds = time.monotonic() - began
    assert set(answers) == {404, 503}
    assert len(site.server.asked) <= (10 + 8) * (1 + seconds)  # eight may be under way when the tenth is answered


def test_an_artifact_that_the_disk_has_changed_is_fetched_again(site: Site) -> None:
    """As a power cut may leave it. It is read once by each process."""
    path = artifact_of(site)
    content = site.offering.files[path]
    sha256 = path.rsplit("/", 1)[-1].partition(".")[0]
    with relaying(site) as address:
        assert get(address, f"/downloads/{path}") == (200, content)
    (site.folder / "cache" / "artifacts" / sha256).write_bytes(bytes(len(content)))
    with relaying(site) as address:
        assert get(address, f"/downloads/{path}") == (200, content)
        assert get(address, f"/downloads/{path}") == (200, content)
    assert site.artifacts_sent() == ["", ""]


def test_a_range_is_answered_while_the_download_is_under_way_and_after_it(site: Site) -> None:
    path = artifact_of(site)
    content = site.offering.files[path]
    with relaying(site) as address:
        assert get(address, f"/downloads/{path}", Range="bytes=1000-") == (206, content[1000:])
        assert get(address, f"/downloads/{path}", Range="bytes=1000-") == (206, content[1000:])
        assert get(address, f"/downloads/{path}", Range=f"bytes={len(content)}-")[0] == 416
    assert site.artifacts_sent() == [""]


def test_the_host_program_is_passed_on_with_its_own_hash(site: Site) -> None:
    site.offering.files["backfleet-host.pyz"] = b"a program"
    with relaying(site) as address:
        assert get(address, "/downloads/backfleet-host.pyz") == (200, b"a program")
        cut_line(site)
        assert get(address, "/downloads/backfleet-host.pyz") == (200, b"a program")
        digest = get(address, "/downloads/backfleet-host.pyz.sha256")[1]
    assert digest.decode().strip() == hashlib.sha256(b"a program").hexdigest()


def test_two_relays_never_share_a_folder(site: Site) -> None:
    with relaying(site), pytest.raises(CacheInUse, match="another relay uses the folder"):
        Cache(site.folder / "cache", 1 << 30)


def test_a_server_with_another_authority_is_not_believed(site: Site) -> None:
    """The relay says so; hosts go to their server."""
    other = prepare_certificates(site.folder / "other", ["127.0.0.1"], now=datetime.now(UTC))
    site.authority, right = other.authority, site.authority
    with relaying(site) as address:
        status, text = get(address, "/downloads/metadata/timestamp.json")
        site.authority = right
        report = carry(site.host("one"))
    assert status == 504
    assert b"certificate verify failed" in text
    assert report.outcome == "succeeded"


def test_what_was_answered_is_counted_by_kind_and_by_where_it_was(site: Site) -> None:
    """A delta is not an artifact, for its bytes are few; the host program counts, too."""
    whole = artifact_of(site)
    delta = site.offering.files[whole][:1000]
    name, digest = f"courier/2.0/{platform_here()}/from/1.0", hashlib.sha256(delta).hexdigest()
    site.offering.targets.targets[name] = TargetFile(len(delta), {"sha256": digest}, name)
    parts = name.rpartition("/")
    path = f"targets/{parts[0]}/{digest}.{parts[2]}"
    site.offering.files |= {path: delta, "backfleet-host.pyz": b"program"}
    site.offering.publish()
    before = counted()
    with relaying(site) as relay:
        for one in (whole, path, path, "backfleet-host.pyz", "backfleet-host.pyz"):
            assert get(relay, f"/downloads/{one}")[0] == 200, one
    found = {labels: number - before.get(labels, 0) for labels, number in counted().items()}
    assert {labels: number for labels, number in found.items() if number and labels[0] != "metadata"} == {
        ("artifact", "server"): 1,
        ("delta", "server"): 1,
        ("delta", "cache"): 1,
        ("program", "server"): 1,
        ("program", "cache"): 1,
    }


def counted() -> dict[tuple[str, str], float]:
    """Return the relay's figures by kind and source."""
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return {
        (sample.labels["kind"], sample.labels["source"]): sample.value
        for sample in samples
        if sample.name == "backfleet_relay_answers_total"
    }
