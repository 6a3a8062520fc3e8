"""A stage that runs ahead changes nothing but the time, and ends when nobody wants more."""

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.build.pipeline import ahead

pytestmark = pytest.mark.timeout(300)


class BrokenError(Exception):
    """What a stage fails with."""


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits up to a minute; the caller asserts."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)


class Source:
    """Counts, in a thread that can be asked how far it has come and whether it was closed."""

    def __init__(self, end: int | None = None, error: Exception | None = None) -> None:
        self.made, self.closed = 0, False
        self._end, self._error = end, error

    def __iter__(self) -> Iterator[int]:
        try:
            for number in itertools.count():
                if number == self._end:
                    break
                self.made = number + 1
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


@settings(max_examples=30, deadline=None)
@given(items=st.lists(st.one_of(st.none(), st.integers(), st.text())), depth=st.integers(1, 5))
def test_all_items_come_out_in_order(items: list[object], depth: int) -> None:
    assert list(ahead(iter(items), depth)) == items
    assert list(ahead(ahead(ahead(iter(items))), depth)) == items
    assert threads() == []


@pytest.mark.parametrize("error", [BrokenError("disk full"), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("stages", [1, 3])
def test_errors_come_out_where_they_happened(error: BaseException, stages: int) -> None:
    def fail_at_the_third() -> Iterator[int]:
        yield from (0, 1, 2)
        raise error

    pipeline: Iterator[int] = fail_at_the_third()
    for _ in range(stages):
        pipeline = ahead(pipeline)
    seen: list[int] = []
    with pytest.raises(type(error)) as caught:
        seen.extend(pipeline)
    assert caught.value is error
    assert seen == [0, 1, 2]
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_it_runs_ahead_by_so_many_items_and_no_further(depth: int) -> None:
    source = Source()
    items = ahead(iter(source), depth)
    for taken in range(1, 4):
        assert next(items) == taken - 1
        furthest = taken + depth + 1  # one more is in the hand of the thread
        wait_for(lambda furthest=furthest: source.made >= furthest)  # type: ignore[misc]
        assert source.made == furthest
    time.sleep(0.3)
    assert source.made == furthest
    items.close()


def test_stages_work_at_the_same_time() -> None:
    """The second item is made while the first one is in the consumer's hands."""
    made_second = threading.Event()

    def two() -> Iterator[int]:
        yield 1
        made_second.set()
        yield 2

    items = ahead(two())
    assert next(items) == 1
    assert made_second.wait(60)
    assert list(items) == [2]


@pytest.mark.parametrize("taken", [1, 3])
@pytest.mark.parametrize("stages", [1, 3])
def test_closing_ends_the_threads_and_closes_what_they_read(taken: int, stages: int) -> None:
    source = Source()
    read = iter(source)  # kept, so that it is closed by nothing but `close`
    items = ahead(read)
    for _ in range(stages - 1):
        items = ahead(items)
    assert list(itertools.islice(items, taken)) == list(range(taken))
    assert len(threads()) == stages
    items.close()
    assert source.closed
    assert threads() == []
    assert list(items) == list(read) == []


def test_a_consumer_that_fails_ends_the_thread() -> None:
    source = Source()

    def consume() -> None:
        for item in ahead(iter(source)):
            if item == 2:
                raise BrokenError

    with pytest.raises(BrokenError):
        consume()
    gc.collect()
    assert threads() == []
    assert source.closed


def test_what_was_never_asked_for_an_item_starts_no_thread() -> None:
    source = Source()
    items = ahead(iter(source))
    assert threads() == []
    items.close()
    assert source.made == 0


def test_an_iterator_without_close_will_do() -> None:
    assert list(ahead(iter(range(5)))) == [0, 1, 2, 3, 4]
    items = ahead(iter(range(5)))
    assert next(items) == 0
    items.close()
    assert threads() == []
