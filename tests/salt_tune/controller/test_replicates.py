"""Finalists with further seeds: as many as were asked for, or as a race among those that are tied."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.events import ReplicatesAsked, Request, RoundStarted, Trials
from analysis.run_directory.trials import Trial
from salt_tune.controller.controller import Controller
from salt_tune.controller.replicates import FEWEST, MOST_FINALISTS, SHARE, most_replicates
from salt_tune.controller.settings import Settings, default_replicates
from tests.salt_tune.controlled import World, decisions, known, winner
from tests.salt_tune.made_trials import make_space

FULL = {"scheduler": "none", "epochs": 1, "reports": 2}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass(frozen=True)
class Luck(World):
    """Trials whose losses are those of a table, and their seeds' luck.

    Attributes:
        losses: of each configuration, in the order of their start.
        luck: of each seed, in that order; a seed beyond it has none.
        verdicts: of each configuration, where it was measured.
    """

    losses: tuple[float, ...] = ()
    luck: tuple[float, ...] = (0.0,)
    verdicts: tuple[str | None, ...] = ()

    def _number(self, trial: Trial) -> int:
        return int((trial.replicate_of or trial.id)[1:])

    def loss(self, trial: Trial, point: float) -> float:  # noqa: ARG002
        """See `World`; the same at each point."""
        number, seed = self._number(trial), trial.seed
        sign = 1 if (number + seed) % 2 else -1
        return self.losses[number] + sign * (self.luck[seed] if seed < len(self.luck) else 0.0)

    def report(self, controller: Controller, trial: Trial) -> dict[str, Any] | None:
        """See `World`."""
        report = super().report(controller, trial)
        if report is not None and self.verdicts:
            report["verdict"] = self.verdicts[self._number(trial)]
        return report


def lucky(losses: tuple[float, ...], replicates: Request = "auto", **more: Any) -> Luck:
    space = make_space(schedule=FULL, trials=len(losses))
    return Luck(space, Settings(replicates=replicates), losses=losses, **more)


def rounds(controller: Controller) -> list[dict[str, int]]:
    """The seeds that each round of the journal asks for."""
    return [entry["seeds"] for entry in decisions(controller, "round")]


# --- so many seeds


def test_the_three_best_are_trained_again_with_other_seeds(tmp_path: Path) -> None:
    world = World(make_space(schedule=FULL, trials=5), Settings(seed=3, replicates=2))
    controller = world.run(world.controller(tmp_path))
    first = sorted(
        (trial for trial in controller.trials.values() if trial.replicate_of is None),
        key=lambda trial: world.loss(trial, 1),
    )[:3]
    runs = [entry["trial"] for entry in decisions(controller, "run")]
    assert runs[:5] == [f"T{number}" for number in range(5)]
    assert runs[5:] == [f"{trial.id}-seed{number}" for number in (1, 2) for trial in first]
    assert rounds(controller) == [{trial.id: 3 for trial in first}]
    for trial in first:
        for number in (1, 2):
            again = controller.trials[f"{trial.id}-seed{number}"]
            assert (again.parameters, again.config) == (trial.parameters, {**trial.config, "seed": 3 + number})
            assert (again.seed, again.replicate_of, again.origin) == (3 + number, trial.id, "replicate")
            assert (again.state, again.resource) == ("complete", 1)
    assert winner(controller) == first[0].id


def test_replicates_that_are_lost_are_not_tried_again(tmp_path: Path) -> None:
    lost = {("T0-seed1", 0.5): "diverged", ("T0-seed2", 1.0): "failed"}
    world = World(make_space(schedule=FULL, trials=1), Settings(replicates=3), lost)
    controller = world.run(world.controller(tmp_path))
    assert {trial.id: trial.state for trial in controller.trials.values()} == {
        "T0": "complete", "T0-seed1": "diverged", "T0-seed2": "failed", "T0-seed3": "complete"
    }  # fmt: skip


def test_more_seeds_can_be_asked_for_before_and_after_the_end(tmp_path: Path) -> None:
    world = lucky((0.4, 0.5, 0.6, 0.7), replicates=1)
    world.run(world.controller(tmp_path), reports=3)
    controller = world.controller(tmp_path)
    controller.ask_replicates(1)
    world.run(controller)
    assert controller.over
    assert rounds(controller) == [dict.fromkeys(("T0", "T1", "T2"), seeds) for seeds in (2, 3)]
    controller.close(1.0, over=True)
    again = world.controller(tmp_path)
    assert again.over
    again.ask_replicates(2)
    assert not again.over
    world.run(again)
    assert rounds(again)[2:] == [dict.fromkeys(("T0", "T1", "T2"), 5)]
    assert sum(trial.replicate_of is not None for trial in again.trials.values()) == 12
    assert again.replicates.requests == [1, 1, 2]
    final = world.controller(tmp_path)
    assert final.over and known(final) == known(again)


def test_none_asked_for_is_no_decision(tmp_path: Path) -> None:
    world = lucky((0.4, 0.5), replicates=0)
    controller = world.run(world.controller(tmp_path))
    controller.ask_replicates(0)
    assert controller.over and not rounds(controller) and not decisions(controller, "replicates")


def test_a_trial_of_an_extension_gets_its_seeds_too(tmp_path: Path) -> None:
    world = lucky((0.5, 0.51, 0.52, 0.6, 0.4), replicates=2)
    space = make_space(schedule=FULL, trials=4)
    world = Luck(space, world.settings, losses=world.losses)
    controller = world.run(world.controller(tmp_path))
    assert rounds(controller) == [dict.fromkeys(("T0", "T1", "T2"), 3)]
    controller.extend(1)
    world.run(controller)
    assert winner(controller) in ("T0", "T4") and controller.over
    assert rounds(controller)[1:] in ([{"T4": 3}], [])


# --- a race


def test_a_race_ends_when_the_first_two_are_told_apart(tmp_path: Path) -> None:
    others = tuple(0.4 + 0.01 * (number % 2) for number in range(30))
    world = lucky((0.396, 0.3981, *others), luck=(0.0001, 0.0001, 0.0001))
    controller = world.run(world.controller(tmp_path))
    assert [set(seeds) >= {"T0", "T1"} for seeds in rounds(controller)] == [True]
    assert winner(controller) == "T0"


def test_a_race_goes_on_until_its_share_is_spent(tmp_path: Path) -> None:
    losses = tuple(0.4 + 0.00001 * number for number in range(40))
    world = lucky(losses, luck=(0.01, 0.02, 0.03, 0.02, 0.01, 0.03))
    controller = world.run(world.controller(tmp_path))
    spent = sum(trial.replicate_of is not None for trial in controller.trials.values())
    assert len(rounds(controller)) > 1
    assert SHARE * 40 <= spent <= most_replicates(["auto"], 40) == SHARE * 40 + FEWEST
    for seeds in rounds(controller):
        assert len(seeds) >= FEWEST


def test_a_short_search_gets_one_round_of_the_first_two(tmp_path: Path) -> None:
    world = lucky((0.41, 0.4, 0.42, 0.5), luck=(0.01, 0.01))
    controller = world.run(world.controller(tmp_path))
    (seeds,) = rounds(controller)
    assert list(seeds.values()) == [2, 2]
    assert decisions(controller, "round")[0]["reason"].startswith(f"tied with {next(iter(seeds))}: ")


@pytest.mark.parametrize("losses", [(0.4,), (math.nan, 0.4)])
def test_one_alone_needs_no_race(tmp_path: Path, losses: tuple[float, ...]) -> None:
    lost = {("T0", 0.5): "diverged"} if len(losses) > 1 else {}
    controller = lucky(losses, lost=lost).controller(tmp_path)
    lucky(losses, lost=lost).run(controller)
    assert controller.over and not rounds(controller)


def test_an_unfit_trial_takes_no_part_and_where_all_are_unfit_there_is_no_race(tmp_path: Path) -> None:
    worse, better = "worse than untrained", "better than untrained"
    world = lucky((0.40, 0.41, 0.42), verdicts=("collapsed", better, None))
    controller = world.run(world.controller(tmp_path))
    assert rounds(controller) == [{"T1": 2, "T2": 2}] and winner(controller) in ("T1", "T2")
    world = lucky((0.40, 0.41, 0.42), verdicts=(worse, worse, worse))
    controller = world.run(world.controller(tmp_path / "unfit"))
    assert controller.over and not rounds(controller) and winner(controller) == "T0"


def test_a_replicate_that_diverges_ends_its_configurations_race(tmp_path: Path) -> None:
    losses = (0.4, 0.4001, *(0.4002 + 0.0001 * number for number in range(38)))
    world = lucky(losses, luck=(0.01, 0.02, 0.03), lost={("T0-seed1", 0.5): "diverged"})
    controller = world.run(world.controller(tmp_path))
    assert "T0" in rounds(controller)[0]
    assert all("T0" not in seeds for seeds in rounds(controller)[1:])
    assert winner(controller) != "T0"


def test_several_workers_race_at_once(tmp_path: Path) -> None:
    world = lucky((0.41, 0.4, 0.42, 0.5), luck=(0.01, 0.01))
    alone = world.run(world.controller(tmp_path / "alone"))
    together = world.run(world.controller(tmp_path / "together"), workers=3)
    assert rounds(together) == rounds(alone)
    assert {*together.trials} == {*alone.trials}


# --- bounds and defaults


def test_how_many_there_may_be_at_most() -> None:
    assert most_replicates([2, 0, 1], 24) == 3 * MOST_FINALISTS
    assert most_replicates(["auto", 1], 24) == 3 + FEWEST + MOST_FINALISTS


def test_a_store_of_ones_own_races_by_default() -> None:
    assert (default_replicates("/nvme/ssv2"), default_replicates(None)) == ("auto", 0)


def test_rounds_and_requests_are_known_of_any_journal() -> None:
    trials, round_ = Trials(), RoundStarted(0, {"T0": 2}, "tied")
    trials.apply(ReplicatesAsked("auto"))
    trials.apply(round_)
    assert (trials.requests, trials.rounds) == (["auto"], [round_])
