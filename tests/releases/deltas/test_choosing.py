"""Which deltas are made: to the newest version on each channel, from the three before it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backfleet.releases import Delta, Manifest, Release
from backfleet.releases.deltas import wanted

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def release(version: str, *channels: str, **changed: Any) -> Release:
    manifest = Manifest("rclone", version, "linux-x86_64", "tar")
    made = Release("rclone", version, "linux-x86_64", "0" * 64, 1 << 20, "f", manifest, NOW, None, channels, NOW)
    return replace(made, **changed)


def chosen(
    *found: Release, known: tuple[Delta, ...] = (), megabytes: int = 1000, now: datetime = NOW
) -> list[tuple[str, str]]:
    return [(new.version, base.version) for new, base in wanted(found, known, megabytes=megabytes, now=now)]


def test_the_newest_version_gets_deltas_from_the_three_before_it():
    found = [release(f"1.{number}.0", "stable") for number in (9, 10, 8, 7, 6)]
    assert chosen(*found) == [("1.10.0", "1.9.0"), ("1.10.0", "1.8.0"), ("1.10.0", "1.7.0")]


def test_each_channel_is_a_line_of_its_own():
    found = [release("1.0.0", "stable", "edge"), release("2.0.0", "edge"), release("1.1.0", "stable")]
    assert chosen(*found) == [("1.1.0", "1.0.0"), ("2.0.0", "1.0.0")]


def test_what_was_withdrawn_or_waits_for_a_signature_is_neither_base_nor_result():
    found = [release("1.0.0", "stable"), release("1.1.0", "stable", withdrawn_at=NOW)]
    assert chosen(*found, release("1.2.0", "stable", published_at=None)) == []


def test_another_platform_is_no_base_and_a_small_artifact_needs_none():
    assert chosen(release("1.0.0", "stable"), release("1.1.0", "stable", platform="linux-aarch64")) == []
    assert chosen(release("1.0.0", "stable"), release("1.1.0", "stable", size=1000)) == []


def test_what_was_tried_is_not_tried_again():
    found, known = [release("1.0.0", "stable"), release("1.1.0", "stable")], Delta(
        "rclone", "1.1.0", "linux-x86_64", "1.0.0", note="too large"
    )  # fmt: skip
    assert chosen(*found, known=(known,)) == []


def test_what_lacked_memory_is_tried_again_once_more_is_allowed():
    found = [release("1.0.0", "stable"), release("1.1.0", "stable")]
    tried = Delta("rclone", "1.1.0", "linux-x86_64", "1.0.0", note="needs more", retry_above=1000)
    assert chosen(*found, known=(tried,)) == []
    assert chosen(*found, known=(tried,), megabytes=500, now=NOW + timedelta(days=400)) == []
    assert chosen(*found, known=(tried,), megabytes=1001) == [("1.1.0", "1.0.0")]


def test_what_failed_by_something_that_passes_is_tried_again_when_it_is_time():
    found = [release("1.0.0", "stable"), release("1.1.0", "stable")]
    tried = Delta("rclone", "1.1.0", "linux-x86_64", "1.0.0", note="killed", retry_at=NOW + timedelta(days=1))
    assert chosen(*found, known=(tried,)) == []
    assert chosen(*found, known=(tried,), now=NOW + timedelta(days=1)) == [("1.1.0", "1.0.0")]
