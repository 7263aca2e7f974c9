"""A refresh goes on where it was: whatever calls fail, every instance is asked about, and the newest word counts."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.carriers import ecs
from backfleet.carriers.ecs import _store, progress
from backfleet.carriers.ecs.model import CloudInstance, EcsProblem, Selection, Trouble
from backfleet.carriers.ecs.progress import MOST_FAILURES, Progress, Stream
from carriers.ecs.conftest import OUT_OF_REACH, Scene, ScriptedCloud
from carriers.ecs.test_rounds import two as two  # noqa: PLC0414 - a fixture

THROTTLED = EcsProblem("EcsThrottled", "more slowly", Trouble.PASSES, "Throttling")
SECOND = timedelta(seconds=1)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Failing(ScriptedCloud):
    """A cloud of which every call is counted, and fails where `pattern` says so."""

    pattern: "itertools.cycle[bool]" = itertools.cycle([False])
    calls = 0

    def _act(self, operation: str) -> None:
        super()._act(operation)
        if operation == "open":
            return
        self.calls += 1
        if next(self.pattern):
            raise OUT_OF_REACH if self.calls % 3 else THROTTLED


def failing(scene: Scene, count: int, pattern: str) -> Failing:
    """Give a scene a cloud with so many instances, 50 on a page; `x` in the pattern is a call that fails."""
    cloud = scene.cloud = Failing()
    for number in range(count):
        cloud.boot(f"i-{number:04d}")
    cloud.pattern = itertools.cycle([each == "x" for each in pattern])
    return cloud


def rounds_until_refreshed(scene: Scene, most: int = 400) -> int:
    """Do rounds until no refresh is due; return how many."""
    for number in range(most):
        with scene.database.reading() as tx:
            if not _store.is_refresh_due(tx, scene.account, scene.now + SECOND):
                return number
        scene.round(after=1)
    raise AssertionError("the refresh did not end")


@pytest.mark.parametrize("pattern", ["oox", "xo", "oxx", "xxxxo", "ooxoxxoxxxo"])
def test_a_refresh_ends_however_many_calls_fail_in_between(scene: Scene, pattern: str) -> None:
    """120 instances on three pages. No call that was answered is made again."""
    cloud = failing(scene, 120, pattern)
    with scene.database.transaction() as tx:
        draw = scene.env.services.draw
        ecs.add_import(tx, scene.account.account_id, "cloud", Selection("cn-beijing"), now=scene.now, draw=draw)
    rounds_until_refreshed(scene)
    for number in range(120):
        assert scene.reachability(f"i-{number:04d}") == ""
    share = pattern.count("o") / len(pattern)
    assert cloud.calls * share < 9 + 120 + 20  # 3 pages, 6 calls about instances, and the questions what each is


def test_what_a_refresh_gave_up_is_asked_about_in_the_next_ones(scene: Scene) -> None:
    """Six calls of seven fail: a stream may have none of those that are answered."""
    failing(scene, 120, "xxxxxxo")
    with scene.database.transaction() as tx:
        draw = scene.env.services.draw
        ecs.add_import(tx, scene.account.account_id, "cloud", Selection("cn-beijing"), now=scene.now, draw=draw)
    reached: set[str] = set()
    for _ in range(20):
        rounds_until_refreshed(scene)
        reached |= {each for each in scene.cloud.instances_there if not scene.reachability(each)}
        scene.now += timedelta(seconds=30)
    assert len(reached) == 120


def test_a_cloud_that_answers_nothing_does_not_make_a_refresh_endless(two: Scene) -> None:
    """It is given up, and begins again when the next one is due; nobody is forgotten or counts as released."""
    two.cloud.fail["instances"] = [OUT_OF_REACH] * 10_000
    two.now += timedelta(seconds=60)
    assert rounds_until_refreshed(two) <= 3 * MOST_FAILURES
    for _ in range(5):
        two.now += timedelta(seconds=60)
        rounds_until_refreshed(two)
    known = two.host("i-1")
    assert known is not None
    assert (known.misses, known.problem_code, two.account_problem()) == (0, "", "EcsUnreachable")
    two.cloud.fail.clear()
    two.now += timedelta(seconds=60)
    rounds_until_refreshed(two)
    assert (two.account_problem(), two.reachability("i-1")) == ("", "")


def test_the_newest_word_counts_while_the_cloud_does_not_answer(two: Scene) -> None:
    """For ten minutes: upgrades are not refused for an agent that nobody said is away."""
    two.cloud.boot("i-2", status="Stopped")
    two.now += timedelta(seconds=60)
    rounds_until_refreshed(two)
    two.cloud.fail["instances"] = [OUT_OF_REACH] * 10_000
    for _ in range(18):
        two.round(after=30)
        assert (two.reachability("i-1"), two.reachability("i-2")) == ("", "InstanceNotRunning")
    for _ in range(10):
        two.round(after=30)
    assert two.reachability("i-1") == "CloudAssistNotRunningOnInstance"


def test_a_page_that_changed_meanwhile_is_read_as_it_is_now(scene: Scene) -> None:
    """An instance that was started on a page that failed comes with that page."""
    failing(scene, 70, "o")
    with scene.database.transaction() as tx:
        draw = scene.env.services.draw
        ecs.add_import(tx, scene.account.account_id, "cloud", Selection("cn-beijing"), now=scene.now, draw=draw)
    scene.cloud.pattern = itertools.chain([False, True], itertools.repeat(False))
    scene.round(after=0)
    scene.cloud.boot("i-9999")
    rounds_until_refreshed(scene)
    assert scene.reachability("i-9999") == ""


def test_a_list_whose_token_is_not_taken_any_more_is_read_from_its_start(scene: Scene) -> None:
    cloud = failing(scene, 70, "o")
    with scene.database.transaction() as tx:
        draw = scene.env.services.draw
        ecs.add_import(tx, scene.account.account_id, "cloud", Selection("cn-beijing"), now=scene.now, draw=draw)
    page, expired = cloud.page, [True]

    def answer(selection: Selection, token: str = "") -> object:
        if token and expired:
            expired.clear()
            raise EcsProblem("EcsCommandRefused", "NextToken", Trouble.COMMAND, "InvalidParameter.NextToken")
        return page(selection, token)

    cloud.page = answer  # type: ignore[method-assign, assignment]
    rounds_until_refreshed(scene)
    assert scene.reachability("i-0069") == ""
    with scene.database.reading() as tx:
        (one,) = ecs.imports_of(tx, scene.account.account_id)
    assert (one.found, one.problem_code) == (70, "")


def test_a_region_out_of_reach_keeps_no_other_from_being_asked_about(two: Scene) -> None:
    with two.database.transaction() as tx:
        _store.add_host(tx, ecs.EcsHost("i-0", two.account.account_id, "cloud", "cn-a", "i-0"))
    page = two.cloud.page

    def answer(selection: Selection, token: str = "") -> object:
        if selection.region == "cn-a":
            raise OUT_OF_REACH
        return page(selection, token)

    two.cloud.page = answer  # type: ignore[method-assign, assignment]
    two.cloud.boot("i-1", status="Stopped")
    two.now += timedelta(seconds=60)
    two.round(after=1)
    two.round(after=1)
    assert two.reachability("i-1") == "InstanceNotRunning"


def test_an_instance_that_runs_is_never_gone_by_calls_that_fail(two: Scene) -> None:
    """An empty list counts only when it is known that instances may be listed."""
    two.cloud.instances_there.clear()
    two.cloud.fail["permission"] = [OUT_OF_REACH] * 10_000
    for _ in range(6):
        two.now += timedelta(seconds=60)
        rounds_until_refreshed(two)
    known = two.host("i-1")
    assert known is not None
    assert known.misses == 0


def test_commands_in_a_region_that_fails_do_not_keep_the_refresh_from_its_turn(two: Scene) -> None:
    for number in range(6):
        two.send("i-1", content=f"echo {number}")
    two.round()
    two.cloud.boot("i-2", status="Stopped")
    two.cloud.fail["results"] = [OUT_OF_REACH] * 10_000
    two.now += timedelta(seconds=60)
    two.round()
    assert two.reachability("i-2") == "InstanceNotRunning"


STREAMS = st.dictionaries(st.sampled_from(["import/a", "import/b", "region/x"]), st.integers(1, 6), min_size=1)


@given(STREAMS, st.lists(st.booleans(), max_size=400))
def test_whatever_fails_a_refresh_asks_each_question_until_it_is_answered_or_given_up(
    lengths: dict[str, int], fails: list[bool]
) -> None:
    """Each stream is a number of questions. None that was answered is asked again; the end comes in bounded time."""
    so_far, left, answered = Progress(NOW), dict(lengths), dict.fromkeys(lengths, 0)
    pattern = itertools.chain(fails, itertools.repeat(False))
    for calls in itertools.count(1):
        imports = [name[7:] for name in lengths if name.startswith("import/")]
        regions = [name[7:] for name in lengths if name.startswith("region/") and left[name]]
        so_far = progress.from_text(progress.as_text(so_far)) or pytest.fail("it was not read again")
        name = progress.next_stream(so_far, imports, regions)
        if name is None:
            break
        assert calls <= sum(lengths.values()) * MOST_FAILURES + 1
        assert not so_far.of(name).is_over
        if next(pattern):
            so_far = progress.failed(so_far, name, ("EcsUnreachable", "nobody answers"))
            continue
        left[name] -= 1
        answered[name] += 1
        stream = so_far.of(name)
        if name.startswith("import/"):
            stream = progress.page_read(stream, ["i-1"], str(left[name]) if left[name] else "", 1)
        else:
            stream = progress.all_judged(stream)
        so_far = so_far.having(name, stream)
    for name, count in lengths.items():
        given_up = so_far.of(name).failures >= MOST_FAILURES
        assert answered[name] == count or (given_up and answered[name] < count)
        assert not given_up or so_far.problem[0] == "EcsUnreachable"


def test_a_progress_that_another_version_wrote_begins_again() -> None:
    assert progress.from_text("") is None
    assert progress.from_text('{"began_at": 1, "streams": {"import/a": {"unknown": 1}}, "problem": ["", ""]}') is None
    one = CloudInstance("i-1", "name", "Running", "linux", "Debian", "host", "10.0.0.1")
    stream = progress.instances_listed(Stream(), ("i-1", "i-2"), (one,), found=1, now=NOW)
    kept = Progress(NOW, {"region/x": stream}, ("A", "b"), NOW)
    assert progress.from_text(progress.as_text(kept)) == kept
