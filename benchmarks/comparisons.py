"""`python -m benchmarks.comparisons [--quick]`: how often a summary says "better", rightly and wrongly.

Searches are simulated: nothing is trained, but the very code runs that races finalists and compares trials for a
summary. The loss of a trial on a clip is

    mean of its configuration * difficulty of the clip + its configuration on that clip + luck of its seed on that clip

A trial reports at a first rung and, where it is promoted, at the end. In a null search all configurations have the same
mean, so each "better" is false. The spreads are those of the demo: two of its configurations, four seeds each.

Writes results/comparisons.json; the same figures come out everywhere.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from analysis.run_directory.events import JobStarted, Request, ResultReported, RoundStarted, TrialAdded, Trials
from analysis.statistics.comparison import Conclusion, level_after
from salt_tune.controller.replicates import Replicates
from salt_tune.report.comparisons import Comparisons, Losses
from salt_tune.report.finalists import looks

RESULTS: Final = Path(__file__).parent / "results" / "comparisons.json"
RUNGS: Final = (0.5, 3.0)
SEARCHES, QUICK = 1000, 100
REQUESTS: Final[tuple[Request, ...]] = (0, 1, 2, "auto")
MORE: Final[tuple[Request, ...]] = (0, 1, 2, 4, 8, "auto")
DIFFERENCE: Final = 0.01  # that is to be found


@dataclass(frozen=True)
class World:
    """What is simulated; losses are relative to their mean.

    Attributes:
        trials: of a search.
        promoted: how many of them, the best at the first rung, train to the end.
        clips: held out.
        better: how far the mean of the first configuration is below that of the others.
        seed_sd: standard deviation between seeds of one configuration (demo: 0.0028 of a val_loss of 0.473).
        seed_clip_sd: of what a seed does to a single clip (0.0115 of 0.473).
        config_clip_sd: of what a configuration does to a single clip (0.0054 of 0.473).
        clip_sd: of the difficulty of clips (0.076 of 0.473).
        persistence: correlation of a seed's luck at the first rung with that at the end.
    """

    trials: int = 12
    promoted: int = 4
    clips: int = 120
    better: float = 0.0
    seed_sd: float = 0.006
    seed_clip_sd: float = 0.024
    config_clip_sd: float = 0.012
    clip_sd: float = 0.16
    persistence: float = 0.5


class Search:
    """One simulated search.

    Args:
        world: what is simulated.
        seed: of all draws.

    Attributes:
        trials: what is known of them.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.trials = world, Trials()
        self._random = np.random.default_rng([seed, world.trials, world.clips])
        self._difficulty = 1 + self._random.normal(0, world.clip_sd, world.clips)
        self._own = self._random.normal(0, world.config_clip_sd, (world.trials, world.clips))
        self._luck: dict[str, npt.NDArray[np.float64]] = {}
        self._losses: dict[tuple[str, float], Losses] = {}

    def run(self, request: Request) -> Comparisons:
        """Trains all trials, the best of them to the end, then the replicates; returns what a summary would compare."""
        for number in range(self.world.trials):
            parameters = {f"x{axis}": float(self._random.random()) for axis in range(3)}
            self._begin(TrialAdded(f"T{number}", parameters, {}, 0, "random"))
        for trial in sorted(self.trials.values(), key=lambda trial: trial.score)[: self.world.promoted]:
            self._finish(trial.id)
        replicates = Replicates(self.trials, request, RUNGS)
        while (step := replicates.next()) is not None:
            if isinstance(step, RoundStarted):
                self.trials.apply(step)
            elif isinstance(step, TrialAdded):
                self._begin(step)
                self._finish(step.trial)
        level = level_after(looks(self.trials.rounds, replicates.requests))
        return Comparisons([*self.trials.values()], RUNGS, "val_loss", self._read, level)

    def _read(self, trial: str, rung: float) -> Losses | None:
        return self._losses.get((trial, rung))

    def _begin(self, added: TrialAdded) -> None:
        """Adds a trial, and trains it to the first rung."""
        self.trials.apply(added)
        self._luck[added.trial] = self._draw_luck()
        self._report(added.trial, RUNGS[0], "running")

    def _finish(self, name: str) -> None:
        """Trains a trial to the end."""
        share = self.world.persistence
        self._luck[name] = share * self._luck[name] + math.sqrt(1 - share**2) * self._draw_luck()
        self._report(name, RUNGS[1], "complete")

    def _draw_luck(self) -> npt.NDArray[np.float64]:
        """Draws what a seed does to each clip."""
        single = self._random.normal(0, self.world.seed_clip_sd, self.world.clips)
        luck: npt.NDArray[np.float64] = single + self._random.normal(0, self.world.seed_sd)
        return luck

    def _report(self, name: str, rung: float, status: str) -> None:
        number = int((self.trials[name].replicate_of or name)[1:])
        mean = 1 - self.world.better * (number == 0)
        losses = mean * self._difficulty + self._own[number] + self._luck[name]
        self._losses[name, rung] = {f"clip-{place}": loss for place, loss in enumerate(losses.tolist())}
        score = float(losses.mean())
        self.trials.apply(JobStarted(name, 0.0, rung, "next"))
        self.trials.apply(ResultReported(name, rung, status, score, report={"val_loss": score}))


@dataclass(frozen=True)
class Said:
    """What the summary of a simulated search says.

    Attributes:
        false: whether the winner is called better than a trial, and is not.
        best: whether the first configuration wins, which is the best where there is one.
        told: whether it is called better than the second as well.
        any: whether it is called better than any.
        replicates: how many were trained.
    """

    false: bool
    best: bool
    told: bool
    any: bool
    replicates: int


def said(world: World, request: Request, seed: int) -> Said:
    """Runs a simulated search, and returns what its summary says."""
    search = Search(world, seed)
    compared = search.run(request)
    winner, *others = compared.standing
    rows = [(trial.id, compared.against_winner(trial)) for trial in others]
    better = [name for name, row in rows if row is not None and row["conclusion"] is Conclusion.WORSE]
    best = winner.id == "T0"
    return Said(
        false=bool(better) and not (best and world.better > 0),
        best=best,
        told=best and bool(others) and others[0].id in better,
        any=best and bool(better),
        replicates=sum(trial.replicate_of is not None for trial in search.trials.values()),
    )


NULL: Final = {
    "4 of 12 promoted": World(),
    "4 of 12 promoted, luck does not persist": World(persistence=0.0),
    "4 of 12 promoted, luck persists": World(persistence=1.0),
    "all of 12 trained in full": World(promoted=12),
    "8 of 24 promoted": World(trials=24, promoted=8),
    "4 of 12 promoted, 1000 clips": World(clips=1000),
    "4 of 12 promoted, seeds twice as noisy": World(seed_sd=0.012),
}
POWER: Final = {
    "120 clips, seeds as in the demo (sd 0.6%)": World(better=DIFFERENCE),
    "1000 clips, seeds as in the demo (sd 0.6%)": World(better=DIFFERENCE, clips=1000),
    "1000 clips, sd of seeds 0.3%": World(better=DIFFERENCE, clips=1000, seed_sd=0.003),
    "1000 clips, sd of seeds 0.1%": World(better=DIFFERENCE, clips=1000, seed_sd=0.001),
}


def main() -> None:
    """Simulates, prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} searches a cell instead of {SEARCHES}")
    searches = QUICK if parser.parse_args().quick else SEARCHES
    figures: dict[str, Any] = {"searches a cell": f"{searches}, of the cells of {DIFFERENCE:.0%} half"}
    for title, world in NULL.items():
        figures[f"null: {title}"] = _cells(title, world, REQUESTS, searches, _false_share)
    for title, world in POWER.items():
        figures[f"{DIFFERENCE:.0%} better: {title}"] = _cells(title, world, MORE, searches // 2, _power)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _cells(
    title: str, world: World, requests: Sequence[Request], searches: int, figure: Callable[[list[Said]], Any]
) -> dict[str, Any]:
    """Returns a figure for each kind of request, and prints it."""
    cells = {}
    for request in requests:
        name = "race" if request == "auto" else f"{1 + request} seed{'s' if request else ''}"
        cells[name] = figure([said(world, request, seed) for seed in range(searches)])
        print(f"{title}, {name}: {cells[name]}", flush=True)
    return cells


def _false_share(found: list[Said]) -> dict[str, Any]:
    """Returns how often a null search calls its winner better than any trial, with the 95% interval (Wilson)."""
    wrong = sum(each.false for each in found)
    interval = binomtest(wrong, len(found)).proportion_ci(method="wilson")
    ends = [round(float(end), 4) for end in (interval.low, interval.high)]
    return {"false": wrong / len(found), "interval": ends, "replicates": _mean([each.replicates for each in found])}


def _power(found: list[Said]) -> dict[str, Any]:
    """Returns how often the best wins, and how often it is called better."""
    return {
        "best wins": _mean([each.best for each in found]),
        "called better than the second": _mean([each.told for each in found]),
        "called better than any": _mean([each.any for each in found]),
        "false": _mean([each.false for each in found]),
        "replicates": _mean([each.replicates for each in found]),
    }


def _mean(values: list[Any]) -> float:
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    main()
