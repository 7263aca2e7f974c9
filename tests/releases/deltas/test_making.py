"""A delta made here is applied as a host does; and one that is damaged or hostile ends within its bounds."""

import random
import resource
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from backfleet.releases.deltas import make_delta
from backfleet_host import deltas
from backfleet_host.deltas import BLOCK, HEADER, LEAST_COPY, MAGIC, STEP, BadDelta, add_bytes, apply_delta

LENIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def applied(folder: Path, delta: bytes, base: bytes, length: int) -> bytes:
    (folder / "delta").write_bytes(delta)
    (folder / "base").write_bytes(base)
    written = bytearray()

    def write(block: bytes) -> None:
        written.extend(block)
        assert len(written) <= length

    apply_delta(folder / "delta", folder / "base", (len(base), length), write)
    return bytes(written)


def built_again(base: bytes, seed: int) -> bytes:
    """Return a program as it is after small changes: bytes inserted, removed, moved and changed by a little."""
    draw, made = random.Random(seed), bytearray(base)
    for _ in range(draw.randrange(12)):
        at = draw.randrange(len(made) + 1)
        kind = draw.randrange(3)
        if kind == 0:
            made[at:at] = draw.randbytes(draw.randrange(100))
        elif kind == 1:
            del made[at : at + draw.randrange(100)]
        else:
            for place in range(at, min(len(made), at + 200), 7):
                made[place] = (made[place] + 4) % 256
    return bytes(made)


@LENIENT
@given(base=some.binary(max_size=400), result=some.binary(max_size=400))
def test_any_two_contents_round_trip(tmp_path, base, result):
    assert applied(tmp_path, make_delta(base, result), base, len(result)) == result


@LENIENT
@given(size=some.integers(0, 5000), seed=some.integers(0, 10_000))
def test_a_program_that_was_built_again_round_trips(tmp_path, size, seed):
    base = random.Random(seed).randbytes(size)
    result = built_again(base, seed)
    assert applied(tmp_path, make_delta(base, result), base, len(result)) == result


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_contents_of_several_blocks_round_trip(tmp_path, size):
    base = random.Random(size).randbytes(size)
    result = built_again(base, 3) + base[: LEAST_COPY - 1]
    delta = make_delta(base, result)
    assert applied(tmp_path, delta, base, len(result)) == result
    assert len(delta) < size / 20


@LENIENT
@given(base=some.binary(min_size=64, max_size=300), cut=some.integers(0, 400), flip=some.integers(0, 10_000))
def test_a_damaged_delta_is_refused_or_makes_no_more_than_it_should(tmp_path, base, cut, flip):
    result = base[20:] + b"new" + base[:40]
    delta = bytearray(make_delta(base, result))
    delta[flip % len(delta)] ^= 1 << flip % 8
    for damaged in (bytes(delta), bytes(delta)[:cut], bytes(delta) + b"more"):
        try:
            made = applied(tmp_path, damaged, base, len(result))
        except BadDelta:
            continue
        assert len(made) == len(result)


def hostile(steps: bytes, data: bytes, lengths: tuple[int, int]) -> bytes:
    packed = zlib.compress(steps, 9)
    return HEADER.pack(MAGIC, *lengths, len(packed)) + packed + zlib.compress(data, 9)


@pytest.mark.parametrize(
    ("steps", "data", "says"),
    [
        (STEP.pack(0, 0, 0) * 100_000, b"", "copies 0 bytes"),
        (STEP.pack(0, 1, 0) * 1000, bytes(1000), "copies 1 bytes"),
        (STEP.pack(1 << 62, 0, 0), b"", "more than 1000 bytes"),
        (STEP.pack(0, 1 << 63, 0), b"", "more than 1000 bytes"),
        (STEP.pack(0, 100, -1), bytes(1000), "outside"),
        (STEP.pack(0, 101, 0), bytes(1000), "outside"),
        (STEP.pack(0, 100, 1 << 62), bytes(1000), "outside"),
        (STEP.pack(1000, 0, 0), bytes(999), "end early"),
        (STEP.pack(1000, 0, 0), bytes(1001), "go on"),
        (STEP.pack(1000, 0, 0), bytes(1 << 28), "go on"),
        (STEP.pack(1000, 0, 0) + bytes(1 << 28), bytes(1000), "go on"),
        (STEP.pack(1000, 0, 0)[:10], bytes(1000), "end early"),
    ],
    ids=range(12),
)
def test_a_hostile_delta_is_refused_before_it_costs_anything(tmp_path, steps, data, says):
    before = resource.getrusage(resource.RUSAGE_SELF)
    delta = hostile(steps, data, (100, 1000))
    made = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(BadDelta, match=says):
        applied(tmp_path, delta, bytes(100), 1000)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - made.ru_utime < 0.2
    assert after.ru_maxrss - max(before.ru_maxrss, made.ru_maxrss) < 20_000  # KiB


def test_other_lengths_than_the_signed_ones_are_refused(tmp_path):
    delta = make_delta(b"old", b"new and longer")
    with pytest.raises(BadDelta, match="14 bytes of 3, not 13 of 3"):
        applied(tmp_path, delta, b"old", 13)
    with pytest.raises(BadDelta, match="no delta"):
        applied(tmp_path, b"BSDIFF40" + bytes(40), b"old", 13)
    with pytest.raises(BadDelta, match="no delta"):
        applied(tmp_path, b"", b"old", 13)


def test_a_header_that_names_steps_beyond_the_file_is_refused(tmp_path):
    with pytest.raises(BadDelta, match="cut off"):
        applied(tmp_path, HEADER.pack(MAGIC, 3, 3, (1 << 64) - 1), b"old", 3)


@given(pair=some.integers(1, 300).flatmap(lambda size: some.tuples(*[some.binary(min_size=size, max_size=size)] * 2)))
def test_bytes_are_added_each_for_itself(pair):
    left, right = pair
    assert add_bytes(left, right) == bytes((one + other) % 256 for one, other in zip(left, right, strict=True))


def test_the_base_has_one_order_on_every_machine():
    paths = ["b", "a/b", "a.b", "ä", "a"]
    assert deltas.in_base_order(paths) == ["a", "a.b", "a/b", "b", "ä"]
    assert struct.calcsize("<8sQQQ") == HEADER.size
