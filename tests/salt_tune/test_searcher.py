"""Random search: the points to start from, then draws, no configuration twice."""

from typing import Any

import pytest

from salt_tune.searcher import propose
from salt_tune.space import SearchSpace, SpaceError


def space(**entries: Any) -> SearchSpace:
    parameters = {
        "lr": {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
        "predictor_depth": {"type": "int", "low": 1, "high": 12},
    }
    return SearchSpace.model_validate({"name": "s", "parameters": parameters, "trials": 5, **entries})


def test_points_come_first_and_what_they_leave_out_is_drawn() -> None:
    first, second, *rest = propose(space(start_from=[{"lr": 1e-3}, {"predictor_depth": 7}]), seed=3)
    assert first.config.lr == 1e-3
    assert second.config.predictor_depth == 7
    assert second.config.lr != 1e-3
    assert len(rest) == 3


def test_the_seed_decides() -> None:
    assert propose(space(), seed=1) == propose(space(), seed=1)
    assert [p.parameters for p in propose(space(), seed=1)] != [p.parameters for p in propose(space(), seed=2)]


def test_more_trials_begin_with_the_same_ones() -> None:
    assert propose(space(trials=9), seed=1)[:5] == propose(space(), seed=1)


def test_log_uniform_is_uniform_in_the_logarithm() -> None:
    rates = [proposal.config.lr for proposal in propose(space(trials=400), seed=0)]
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / len(rates) < 0.6


def test_trials_of_one_search_share_seed_epochs_and_fixed_values() -> None:
    configs = [p.config for p in propose(space(fixed={"batch_size": 4}, schedule={"epochs": 7}), seed=11)]
    assert {(config.seed, config.epochs, config.batch_size) for config in configs} == {(11, 7, 4)}


def test_a_choice_among_few_is_exhausted_without_repeats() -> None:
    few = space(parameters={"predictor_depth": {"type": "int", "low": 1, "high": 4}}, trials=4)
    assert sorted(p.config.predictor_depth for p in propose(few, seed=0)) == [1, 2, 3, 4]


@pytest.mark.parametrize("start_from", [[], [{"predictor_depth": 2}, {"predictor_depth": 2}]])
def test_more_trials_than_configurations_are_refused(start_from: list[dict[str, int]]) -> None:
    few = space(parameters={"predictor_depth": {"type": "int", "low": 1, "high": 3}}, trials=4, start_from=start_from)
    with pytest.raises(SpaceError, match=r"trials = 4: found only [123] different configurations"):
        propose(few, seed=0)


def test_points_twice_do_not_hang_the_search() -> None:
    twice = space(start_from=[{"lr": 1e-3, "predictor_depth": 2}] * 2)
    assert len({p.config for p in propose(twice, seed=0)}) == 5


def test_hyperparameters_that_only_points_vary_are_named_in_every_trial() -> None:
    proposals = propose(space(start_from=[{"batch_size": 4}]), seed=0)
    assert [p.parameters["batch_size"] for p in proposals] == [4, 32, 32, 32, 32]
