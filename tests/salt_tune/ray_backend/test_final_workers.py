"""How often a shared final run is gone on with; `test_promote_workers.py` stops and kills real workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from salt_tune.ray_backend.final_workers import SharedFinal
from salt_tune.ray_backend.ray_train import HungError, LostError
from tests.toy_task import TOY, ToyData
from trainable.errors import UserError
from trainable.task import find_task
from trainable.worker import FinalSpec, Report


class Scripted(SharedFinal):
    """One whose attempts are given: the epochs that each reports, and how it ends."""

    def __init__(self, folder: Path, workers: int, *attempts: tuple[list[float], Exception | None]) -> None:
        spec = FinalSpec({"epochs": 4.0}, {}, 1, folder / "final", 1, {}, None, workers=workers)
        super().__init__(find_task(TOY), spec, ToyData(folder), workers)
        self._attempts, self.counts = iter(attempts), list[int]()

    @contextmanager
    def _session(self) -> Iterator[Any]:
        yield None

    def _attempt(self, workers: int, _ground: Any, on_report: Any, *_: Any) -> Report | None:
        self.counts.append(workers)
        epochs, error = next(self._attempts)
        for epoch in epochs:
            on_report({"epoch": epoch})
        if error:
            raise error
        return {"epoch": epochs[-1]}


def train(final: Scripted) -> tuple[list[float], list[str]]:
    """The epochs that were reported, and what was said."""
    reports: list[float] = []
    said: list[str] = []
    assert final.train(lambda report: reports.append(report["epoch"]), Event(), said.append) == {"epoch": 4.0}
    return reports, said


def test_hangs_are_counted_anew_after_a_new_report(tmp_path: Path) -> None:
    hung = HungError(30.0)
    final = Scripted(tmp_path, 2, *(([float(epoch)], hung) for epoch in (1, 1, 1, 2, 2, 2)), ([3.0, 4.0], None))
    reports, said = train(final)
    assert (reports[-2:], final.counts) == ([3.0, 4.0], [2] * 7)
    assert said == [f"{hung}; going on from the start"] * 6


def test_a_report_that_is_made_again_and_again_does_not_keep_it_going(tmp_path: Path) -> None:
    final = Scripted(tmp_path, 2, *[([1.0], HungError(30.0))] * 9)
    with pytest.raises(UserError, match="4 times in a row; the same command goes on from the start"):
        train(final)
    assert final.counts == [2] * 4


def test_those_that_remain_go_on_until_none_does(tmp_path: Path) -> None:
    final = Scripted(tmp_path, 3, ([1.0], LostError(1)), ([2.0], LostError(1)), ([3.0, 4.0], None))
    _, said = train(final)
    assert final.counts == [3, 2, 1]
    assert said == [f"{LostError(1)}; going on with {left} of 3, from the start" for left in (2, 1)]
    with pytest.raises(UserError, match=r"^2 workers died, and none is left; the same command goes on from the start"):
        train(Scripted(tmp_path, 2, ([1.0], LostError(2))))
