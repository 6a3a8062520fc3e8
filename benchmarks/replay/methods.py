"""The methods that are compared, by name: a schedule and where its configurations come from."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, Literal

from benchmarks.replay import peers
from benchmarks.replay.clock import Method
from salt_tune.schedulers import freeze_thaw, learning_curves
from salt_tune.schedulers.asha import Asha
from salt_tune.schedulers.base import Job, Scheduler
from salt_tune.schedulers.freeze_thaw import FreezeThaw
from salt_tune.schedulers.full_length import FullLength
from salt_tune.space.schedule import Schedule

Searching = Literal["shared order", "random", "tpe", "gp"]


@dataclass(frozen=True)
class Contender:
    """A method.

    Attributes:
        make: from (trials, full) to a scheduler.
        searcher: who suggests; "shared order" are draws that all methods share.
        constants: modules, names and values that are other than in the product.
    """

    make: Callable[[int, int], Method]
    searcher: Searching = "shared order"
    constants: tuple[tuple[ModuleType, str, Any], ...] = ()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the constants these values."""
        before = [(module, name, getattr(module, name)) for module, name, _ in self.constants]
        for module, name, value in self.constants:
            setattr(module, name, value)
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


class Interleaved(FreezeThaw):
    """Freeze-thaw that does not start all trials first: a third, then in turn one that goes on and one that starts."""

    _promoted = 0

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`."""
        if self._promoted < self.started - self.allowed // 3 and self.started < self.allowed:
            self.allowed, allowed = self.started, self.allowed
            job = super().next_job()
            self.allowed = allowed
            if job is not None:
                return job
        return super().next_job()

    def on_job(self, trial: str, milestone: float) -> None:
        """See `Scheduler.on_job`."""
        self._promoted += trial in self._order
        super().on_job(trial, milestone)


class TopAfter(Scheduler):
    """Trains all trials to the first rung, and the best `keep` of them on to the end: i-Epoch (Egele et al., 2024).

    It chooses once. So it says what further rungs are worth.
    """

    def __init__(self, rungs: Sequence[float], allowed: int, *, keep: int) -> None:
        super().__init__(rungs, allowed)
        self._left, self._scores = keep, dict[str, float]()

    def next_job(self) -> Job | None:
        """See `Scheduler.next_job`."""
        if self.started < self.allowed:
            return Job(None, self.rungs[0], "not all trials have been started")
        chosen = self._chosen()
        return Job(chosen[0], self.rungs[-1], "among the best") if chosen else None

    def prunable(self) -> list[str]:
        """See `Scheduler.prunable`."""
        return [trial for trial in self._scores if trial not in self._chosen()] if self._compared() else []

    def on_job(self, trial: str, milestone: float) -> None:
        """See `Scheduler.on_job`."""
        super().on_job(trial, milestone)
        if self._scores.pop(trial, None) is not None:
            self._left -= 1

    def on_trial_prune(self, trial: str) -> None:
        """See `Scheduler.on_trial_prune`."""
        del self._scores[trial]

    def _arrived(self, trial: str, level: int, score: float) -> None:
        if level == 0 and score < math.inf:
            self._scores[trial] = score

    def _compared(self) -> bool:
        return self.started == self.allowed and 0 not in self._running.values()

    def _chosen(self) -> list[str]:
        """Returns the paused trials that go on, best first; none before all have come to the first rung."""
        ranked = sorted(self._scores, key=lambda trial: (self._scores[trial], self._order[trial]))
        return ranked[: self._left] if self._compared() else []


def rungs(name: Literal["freeze_thaw", "asha", "none"], full: int, first: int = 1) -> tuple[float, ...]:
    """Returns the rungs of a search that evaluates its trials after every step."""
    return Schedule(scheduler=name, epochs=full, first_rung=first, reports=full).rung_points()


def thaw(trials: int, full: int, keep: int | None = None, kind: type[FreezeThaw] = FreezeThaw) -> Scheduler:
    """Makes a freeze-thaw scheduler at the rungs that a search gives it."""
    return kind(rungs("freeze_thaw", full), trials, keep=keep)


def asha(trials: int, full: int, first: int) -> Scheduler:
    """Makes ASHA with promotions, at the rungs that a search gives it."""
    return Asha(rungs("asha", full, first), trials)


def top_after(trials: int, full: int, keep: int, first: int) -> Scheduler:
    """Makes i-Epoch: the best `keep` trials after `first` steps are trained to the end."""
    return TopAfter((float(first), float(full)), trials, keep=keep)


def to_the_end(trials: int, full: int) -> Scheduler:
    """Makes a scheduler that trains all trials at full length."""
    return FullLength(rungs("none", full), trials)


def _syne(kind: Literal["stopping", "promotion"], grace: int, trials: int, full: int) -> Method:
    from benchmarks.replay.syne import SynePeer

    return SynePeer(kind, trials, full, grace)


SEARCHERS: tuple[Searching, ...] = ("random", "tpe")
RAY = "Ray ASHA, grace 3"
RAY_1 = "Ray ASHA, grace 1"
FRONTIER = (RAY, RAY_1, "Ray median stopping, grace 3", "Syne Tune ASHA, promotion, grace 1", "asha", "freeze_thaw")

CONTENDERS: dict[str, Contender] = {
    "random, full length": Contender(to_the_end),
    **{
        f"i-Epoch: the best {keep} after {first}": Contender(partial(top_after, keep=keep, first=first))
        for keep, first in ((1, 1), (3, 1), (1, 3), (3, 3))
    },
    RAY: Contender(partial(peers.ray_asha, grace=3)),
    RAY_1: Contender(partial(peers.ray_asha, grace=1)),
    "Ray median stopping, grace 3": Contender(partial(peers.ray_median, grace=3)),
    "Ray HyperBand": Contender(peers.ray_hyperband),
    "Syne Tune ASHA, stopping, grace 3": Contender(partial(_syne, "stopping", 3)),
    "Syne Tune ASHA, stopping, grace 1": Contender(partial(_syne, "stopping", 1)),
    "Syne Tune ASHA, promotion, grace 3": Contender(partial(_syne, "promotion", 3)),
    "Syne Tune ASHA, promotion, grace 1": Contender(partial(_syne, "promotion", 1)),
    "asha, first rung 3": Contender(partial(asha, first=3)),
    "asha": Contender(partial(asha, first=1)),
    "freeze_thaw": Contender(thaw),
    "freeze_thaw, keep 8": Contender(partial(thaw, keep=8)),
}
_WITH_SEARCHERS: dict[str, Callable[[int, int], Method]] = {
    **{name: CONTENDERS[name].make for name in (RAY, "asha", "freeze_thaw")},
    "freeze_thaw, interleaved": partial(thaw, kind=Interleaved),
}
LEARNING = {
    f"{name} + {searcher}": Contender(make, searcher)
    for name, make in _WITH_SEARCHERS.items()
    for searcher in SEARCHERS
}


def _varied() -> dict[str, Contender]:
    """Makes freeze-thaw with each constant halved and doubled."""
    varied: dict[str, Contender] = {}
    for module, name in (
        *((freeze_thaw, name) for name in ("HEAVY_TAILS", "WORTHWHILE", "HOPELESS", "REFIT_AFTER", "OUTLIER")),
        *(
            (learning_curves, name)
            for name in ("CLOCKS", "SLOPES", "PERSISTENCES", "NOISES", "MEAN_SPREAD", "SCALE_WEIGHT")
        ),
        (freeze_thaw, "RUNG_FACTOR"),
    ):
        value = getattr(module, name)
        for label, power in (("halved", -1), ("doubled", 1)):
            changed: Any = 2.0**power * value if isinstance(value, float) else tuple(2.0**power * one for one in value)
            if name == "PERSISTENCES":  # correlations: what is doubled is how long a slope persists
                changed = tuple(one ** (0.5**power) for one in value)
            if name == "RUNG_FACTOR":  # a factor: what is doubled is its logarithm
                changed = value ** (2.0**power)
            varied[f"{name} {label}"] = Contender(thaw, constants=((module, name, changed),))
    return varied


SENSITIVITY = _varied()
ALL = CONTENDERS | LEARNING | SENSITIVITY


def installed() -> dict[str, Contender]:
    """Returns the contenders that have their packages here."""
    try:
        release = version("syne-tune")
    except PackageNotFoundError:
        release = ""
    missing = ("Syne",) if not release else () if release.startswith("0.13.") else ("Syne Tune ASHA, promotion",)
    return {name: one for name, one in CONTENDERS.items() if not name.startswith(missing)}
