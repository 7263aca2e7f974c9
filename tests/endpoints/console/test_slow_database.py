"""A database that takes long: pages say so in their time, and do not keep others from their answers."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from backfleet.endpoints.console.guarding import TOO_SLOW
from backfleet.endpoints.console.turns import FOR_PAGES, Turns
from backfleet.operations.perform import THREADS
from endpoints.console.site import Browser, serve
from operations.environment import Environment


def test_a_page_that_waits_for_the_database_answers_in_its_time_and_says_why(env: Environment, tmp_path: Path) -> None:
    settings = replace(env.services.settings, call_seconds=2)  # a lock is waited for eight
    env.services = replace(env.services, settings=settings)
    site, stop = serve(env)
    ann = Browser(site)
    ann.log_in(site.key_of("ann", "AdministratorAccess"))
    file = env.services.database.engine.url.database
    assert file is not None
    with sqlite3.connect(file, isolation_level=None) as other, ThreadPoolExecutor(12) as people:
        other.execute("BEGIN IMMEDIATE")
        waiting = [people.submit(ann.get, "/fleet") for _ in range(10)]  # more than there are threads
        assert Browser(site).get("/login").status == 200, "what needs no database is there"
        pages = [page.result(60) for page in waiting]
        other.execute("ROLLBACK")
    other.close()
    assert {page.status for page in pages} == {503}
    assert all(TOO_SLOW.partition(";")[0] in page.text for page in pages)
    assert any(ann.get("/fleet").status == 200 for _ in range(20)), "and afterwards everything is as before"
    stop()


def test_slow_pages_leave_threads_for_programs_and_hosts_also_when_nobody_waits_for_them() -> None:
    assert 0 < FOR_PAGES < THREADS
    going_on, begun = threading.Event(), list[int]()

    async def slow(number: int) -> int:
        begun.append(number)
        await asyncio.get_running_loop().run_in_executor(None, going_on.wait, 30)
        return number

    async def ask_all() -> None:
        turns = Turns(2)
        pages = [asyncio.ensure_future(turns.take(lambda number=number: slow(number))) for number in range(4)]
        for _ in range(100):
            await asyncio.sleep(0)
        pages[0].cancel()
        for _ in range(100):
            await asyncio.sleep(0)
        assert begun == [0, 1], "a page that was given up still has its thread"
        going_on.set()
        found = await asyncio.gather(*pages, return_exceptions=True)
        assert found[1:] == [1, 2, 3]
        assert isinstance(found[0], asyncio.CancelledError)

    asyncio.run(ask_all())


def test_work_that_fails_ends_its_turn() -> None:
    async def fail() -> None:
        raise ValueError

    async def ask() -> None:
        turns = Turns(1)
        for _ in range(2):
            with pytest.raises(ValueError):  # noqa: PT011 - its own
                await turns.take(fail)

    asyncio.run(ask())
