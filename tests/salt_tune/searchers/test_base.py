"""Proposals: none twice, all within their ranges, a function of what was told, and better where they learn."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.run_directory.trials import Trial, TrialState
from salt_tune.controller.new_trial import new_trial
from salt_tune.searchers.base import Method, Searcher, make_searcher
from salt_tune.space.parameters import Choice, Int, Parameter, Range
from salt_tune.space.search_space import SearchSpace

DRAWN: list[Method] = ["random", "grid", "sobol"]
ALL: list[Method] = [*DRAWN, "tpe"]
LOST = [state for state in TrialState if state.lost]

LR = Range(type="log_uniform", low=1e-5, high=1e-1)
MIXED: dict[str, Parameter] = {
    "lr": LR,
    "mask_ratio": Range(type="uniform", low=0.5, high=0.9),
    "depth": Int(type="int", low=1, high=12),
    "dim": Choice(type="choice", values=(64, 128, 192)),
}
LINE: dict[str, Parameter] = {"x": Range(type="uniform", low=0, high=1)}


def earlier_trial(parameters: dict[str, Any], scores: dict[float, float], state: TrialState) -> Trial:
    return Trial("T0", parameters, parameters, seed=0, state=state, scores=scores)


def taken(searcher: Searcher, most: int) -> list[dict[str, Any]]:
    """The next proposals, to the end where there is one."""
    made = []
    for number in range(most):
        values = searcher.propose(f"T{number}")
        if values is None:
            break
        made.append(values)
    return made


def space(**entries: Any) -> SearchSpace:
    parameters = {
        "lr": {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
        "predictor_depth": {"type": "int", "low": 1, "high": 12},
    }
    return SearchSpace.model_validate({"name": "s", "parameters": parameters, "trials": 5, **entries})


ranges = st.builds(
    lambda kind, low, width: Range(type=kind, low=low, high=low + width),
    st.sampled_from(["uniform", "log_uniform"]),
    st.floats(1e-9, 1e6),
    st.floats(1e-3, 1e6),
)
stepped = st.builds(
    lambda low, width, step: Int(type="int", low=low, high=low + width, step=step),
    st.integers(-50, 50),
    st.integers(1, 200),
    st.integers(1, 9),
)
logarithmic = st.builds(
    lambda low, width: Int(type="int", low=low, high=low + width, log=True), st.integers(1, 50), st.integers(1, 200)
)
choices = st.builds(
    lambda values: Choice(type="choice", values=tuple(values)),
    st.lists(st.sampled_from(["a", "b", None, 1.5, 7]), min_size=1, unique=True),
)
parameter_sets = st.dictionaries(
    st.sampled_from("abcd"), st.one_of(ranges, stepped, logarithmic, choices), min_size=1, max_size=3
)


def allowed(parameter: Parameter, value: Any) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.values
    if isinstance(parameter, Int):
        return type(value) is int and value in range(parameter.low, parameter.high + 1, parameter.step)
    return bool(parameter.low <= value <= parameter.high)


@given(parameters=parameter_sets, method=st.sampled_from(DRAWN), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_proposals_lie_in_their_ranges_and_none_comes_twice(
    parameters: dict[str, Parameter], method: Method, seed: int
) -> None:
    made = taken(Searcher(method, parameters, seed=seed), 20)
    assert len({tuple(values.items()) for values in made}) == len(made) > 0
    for values in made:
        assert values.keys() == parameters.keys()
        assert all(allowed(parameters[name], value) for name, value in values.items())


def follow(searcher: Searcher, story: list[tuple[str, int, float]], peeks: bool) -> dict[str, dict[str, Any]]:
    """Lets a search go as `story` says, whose numbers stand for trials; returns what was proposed."""
    made: dict[str, dict[str, Any]] = {}
    for what, number, score in story:
        trial = f"T{number % max(1, len(made))}"
        if what == "propose":
            values = searcher.propose(f"T{len(made)}")
            assert values is not None
            made[f"T{len(made)}"] = values
        elif what == "report":
            searcher.report(trial, 1.0 + number % 3, score)
        else:
            searcher.end(trial, TrialState(what), score)
        if peeks:
            searcher.propose(f"T{len(made)}")
    return made


stories = st.lists(
    st.tuples(
        st.sampled_from(["propose", "propose", "report", "report", "complete", "pruned", "diverged"]),
        st.integers(0, 20),
        st.floats(0, 1) | st.just(math.inf),
    ),
    max_size=20,
)


@given(method=st.sampled_from(ALL), story=stories, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_search_that_is_told_again_proposes_the_same(
    method: Method, story: list[tuple[str, int, float]], seed: int
) -> None:
    def fresh() -> Searcher:
        return Searcher(method, MIXED, seed=seed, start_from=[{"lr": 1e-3}], trials=6)

    first, second = fresh(), fresh()
    made = follow(first, story, peeks=True)
    assert made == follow(second, story, peeks=False)

    third = fresh()
    started = 0
    for what, number, score in story:
        trial = f"T{number % max(1, started)}"
        if what == "propose":
            third.adopt(f"T{started}", made[f"T{started}"])
            started += 1
        elif what == "report":
            third.report(trial, 1.0 + number % 3, score)
        else:
            third.end(trial, TrialState(what), score)
    last = f"T{len(made)}"
    assert first.propose(last) == second.propose(last) == third.propose(last)


@pytest.mark.parametrize("method", ALL)
def test_what_is_left_is_what_will_be_proposed(method: Method) -> None:
    """Also the last ones, which draws would miss: of a log scale, the high values are rare."""
    parameters: dict[str, Parameter] = {
        "depth": Int(type="int", low=1, high=60, log=True),
        "loss": Choice(type="choice", values=("mse", "l1")),
    }
    points: list[dict[str, Any]] = [
        {"depth": 2, "loss": "l1"},
        {"depth": 99},
        {"beta1": 0.8},
        {"beta1": 0.9, "depth": 3, "loss": "mse"},
    ]
    searcher = Searcher(method, parameters, seed=0, start_from=points, defaults={"beta1": 0.9}, trials=500)
    searcher.warm([earlier_trial({"depth": 7, "loss": "mse"}, {1.0: 0.5}, TrialState.PRUNED)])
    expected = 2 * 60 - 1 + 2  # without the earlier one, with the two points that lie elsewhere
    assert (searcher.left(500), searcher.left(expected), searcher.left(5), searcher.left(0)) == (121, 121, 5, 0)
    for number in range(expected):
        assert searcher.propose(f"T{number}") is not None
        assert searcher.left(500) == expected - number - 1
    assert searcher.propose(f"T{expected}") is None


def test_points_alone_end() -> None:
    points = [{"lr": 1e-3}, {"lr": 1e-4}, {"lr": 1e-3}]
    searcher = Searcher("tpe", {}, seed=0, start_from=points, defaults={"lr": 3e-4})
    assert searcher.left(9) == 2
    assert len(taken(searcher, 9)) == 2 and searcher.left(9) == 0


@pytest.mark.parametrize("method", ["random", "grid"])
def test_a_space_with_conditions_is_counted_as_it_is_proposed(method: Method) -> None:
    parameters: dict[str, Parameter] = {
        "loss": Choice(type="choice", values=("mse", "l1")),
        "depth": Int(type="int", low=1, high=3, when={"loss": ("l1",)}),
    }
    searcher = Searcher(
        method, parameters, seed=0, trials=9, defaults={"depth": 2},
        active=lambda name, values: name == "loss" or values["loss"] == "l1",
    )  # fmt: skip
    assert searcher.left(9) == 4 == len(taken(searcher, 9))


def test_a_range_has_no_end() -> None:
    assert Searcher("random", LINE, seed=0).left(10**9) == 10**9


@pytest.mark.parametrize("method", ALL)
def test_an_exhausted_space_ends_with_none(method: Method) -> None:
    searcher = Searcher(method, {"depth": Int(type="int", low=1, high=4)}, seed=0, trials=9)
    made = []
    for number in range(4):
        made.append(searcher.propose(f"T{number}"))
        searcher.report(f"T{number}", 1.0, 0.5)
    assert sorted(values["depth"] for values in made if values) == [1, 2, 3, 4]
    assert searcher.propose("T4") is None


@pytest.mark.parametrize("method", ALL)
def test_the_seed_decides(method: Method) -> None:
    assert taken(Searcher(method, MIXED, seed=1), 5) == taken(Searcher(method, MIXED, seed=1), 5)
    assert taken(Searcher(method, MIXED, seed=1), 5) != taken(Searcher(method, MIXED, seed=2), 5)


def test_random_rates_are_uniform_in_the_logarithm() -> None:
    rates = [values["lr"] for values in taken(Searcher("random", {"lr": LR}, seed=0), 400)]
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / len(rates) < 0.6


def test_sobol_spreads_every_parameter_evenly() -> None:
    made = taken(Searcher("sobol", MIXED, seed=0), 64)
    quarters = [math.floor(math.log10(values["lr"])) for values in made]
    assert [quarters.count(power) for power in (-5, -4, -3, -2)] == [16, 16, 16, 16]
    assert {[values["dim"] for values in made].count(dim) for dim in (64, 128, 192)} <= {20, 21, 22}


def test_a_grid_has_all_choices_the_ends_of_ranges_and_as_many_points_as_trials() -> None:
    made = taken(Searcher("grid", MIXED, seed=0, trials=100), 1000)
    rates = sorted({values["lr"] for values in made})
    assert len(made) == 12 * 3 * 2 * 2
    assert rates == [1e-5, 1e-1]
    made = taken(Searcher("grid", {"lr": LR}, seed=0, trials=5), 1000)
    assert [round(math.log10(values["lr"]), 9) for values in made] != [-5, -4, -3, -2, -1]
    assert sorted(round(math.log10(values["lr"]), 9) for values in made) == [-5, -4, -3, -2, -1]


def test_a_grid_too_large_to_list_is_drawn_from() -> None:
    parameters: dict[str, Parameter] = {name: Int(type="int", low=0, high=40) for name in "abcdefgh"}
    made = taken(Searcher("grid", parameters, seed=0), 50)
    assert len({tuple(values.values()) for values in made}) == 50


WHEN = {
    "loss": {"type": "choice", "values": ["mse", "l1"]},
    "grad_clip": {"type": "log_uniform", "low": 0.01, "high": 1.0, "when": {"loss": "l1"}},
    "predictor_depth": {"type": "int", "low": 1, "high": 2, "when": {"loss": "mse"}},
}


@pytest.mark.parametrize("method", [*ALL, "gp"])
def test_only_parameters_whose_conditions_hold_are_set(method: Method) -> None:
    conditional = space(parameters=WHEN, searcher=method, trials=12, start_from=[{"loss": "l1"}])
    searcher = make_searcher(conditional, seed=0)
    count = 5 if method == "gp" else 12
    made = []
    for number in range(count):
        values = searcher.propose(f"T{number}")
        if values is None:
            break
        made.append(new_trial(conditional, f"T{number}", values, seed=0))
        searcher.report(f"T{number}", 1.0, made[-1].config["grad_clip"] or 0)
    assert made[0].parameters.keys() == {"loss", "grad_clip"}
    for trial in made:
        other = "grad_clip" if trial.parameters["loss"] == "l1" else "predictor_depth"
        assert trial.parameters.keys() == {"loss", other}
    assert len({tuple(trial.config.items()) for trial in made}) == len(made)
    assert sum(trial.config["loss"] == "mse" for trial in made) <= 2


def test_points_come_first_and_what_they_leave_out_is_drawn() -> None:
    searcher = make_searcher(space(start_from=[{"lr": 1e-3}, {"predictor_depth": 7}]), seed=3)
    first, second = taken(searcher, 2)
    assert first["lr"] == 1e-3
    assert second["predictor_depth"] == 7
    assert second["lr"] != 1e-3


@pytest.mark.parametrize("method", ALL)
def test_points_that_repeat_each_other_are_proposed_once(method: Method) -> None:
    point = {"lr": 1e-3, "predictor_depth": 2}
    made = taken(make_searcher(space(start_from=[point, point, {"lr": 1e-2}], searcher=method), seed=0), 4)
    assert made[0] == point
    assert made[1]["lr"] == 1e-2
    assert point not in made[1:]


def test_a_point_that_names_a_default_is_the_same_as_one_that_does_not() -> None:
    points = [{"batch_size": 32, "predictor_depth": 1}, {"predictor_depth": 1}]
    depths = space(parameters={"predictor_depth": {"type": "int", "low": 1, "high": 2}}, start_from=points)
    searcher = make_searcher(depths, seed=0)
    assert [values["predictor_depth"] for values in taken(searcher, 5)] == [1, 2]


def test_a_proposal_names_what_points_vary_and_has_fixed_values_epochs_and_seed() -> None:
    varied = space(start_from=[{"batch_size": 4}], fixed={"beta2": 0.99}, schedule={"epochs": 7})
    searcher = make_searcher(varied, seed=0)
    first, second = (new_trial(varied, f"T{n}", searcher.propose(f"T{n}") or {}, seed=11) for n in range(2))
    assert (first.parameters["batch_size"], second.parameters["batch_size"]) == (4, 32)
    assert (first.config["beta2"], first.config["epochs"], first.config["seed"], first.seed) == (0.99, 7, 11, 11)


def test_a_trial_asked_for_again_counts_once() -> None:
    searcher = Searcher("random", MIXED, seed=0)
    assert searcher.propose("T0") == searcher.propose("T0")
    assert searcher.propose("T1") == taken(Searcher("random", MIXED, seed=0), 2)[1]


def valley(values: dict[str, Any]) -> float:
    far = (math.log10(values["lr"]) + 3) ** 2 + 20 * (values["mask_ratio"] - 0.7) ** 2
    return float(far + abs(values["depth"] - 6) / 6 + (values["dim"] != 128))


def best_of(method: Method, seed: int) -> float:
    searcher = Searcher(method, MIXED, seed=seed)
    scores = []
    for number in range(35):
        values = searcher.propose(f"T{number}")
        assert values is not None
        scores.append(valley(values))
        searcher.report(f"T{number}", 1.0, scores[-1])
    return min(scores)


def test_learning_finds_better_trials_than_drawing() -> None:
    learnt, drawn = ([best_of(method, seed) for seed in range(6)] for method in ("tpe", "random"))
    assert statistics.mean(learnt) < 0.7 * statistics.mean(drawn)


def line_search(method: Method, tell: Callable[[Searcher], None], objectives: int = 1) -> list[float]:
    """Where a search on a line goes on after 12 trials at 0.0, 0.08... 0.92, of which it is told something."""
    found = []
    for seed in range(1 if method == "gp" else 8):
        searcher = Searcher(method, LINE, seed=seed, objectives=objectives)
        for number in range(12):
            searcher.adopt(f"T{number}", {"x": number / 12.5})
        tell(searcher)
        found.append((searcher.propose("T12") or {})["x"])
    return found


@pytest.mark.parametrize("method", ["tpe", "gp"])
def test_scores_of_a_low_rung_never_stand_beside_those_of_a_high_one(method: Method) -> None:
    def tell(level: float) -> Callable[[Searcher], None]:
        def told(searcher: Searcher) -> None:
            for number in range(12):
                searcher.report(f"T{number}", 1.0, level + (number - 11) ** 2 / 1000)  # best on the right, then paused
            for number in range(6):
                searcher.report(f"T{number}", 3.0, 50 + number)  # best on the left

        return told

    low, high = line_search(method, tell(0.0)), line_search(method, tell(100.0))
    assert low == high
    assert statistics.median(low) < 0.5


@pytest.mark.parametrize("state", [*LOST, TrialState.COMPLETE])
def test_lost_trials_are_worse_than_any(state: TrialState) -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(6):
            searcher.report(f"T{number}", 3.0, 0.1)
            searcher.end(f"T{number}", state, math.inf)
        for number in range(6, 12):
            searcher.report(f"T{number}", 1.0, 10.0)

    assert statistics.median(line_search("tpe", tell)) > 0.5


def test_trials_that_paused_teach() -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(12):
            searcher.report(f"T{number}", 1.0, abs(number - 10))

    assert statistics.median(line_search("tpe", tell)) > 0.6


def test_two_objectives_are_both_low() -> None:
    def tell(searcher: Searcher) -> None:
        for number in range(12):
            searcher.report(f"T{number}", 1.0, abs(number - 3), cost=number)  # none beats those up to 3
        searcher.end("T0", TrialState.COMPLETE, 3.0, values=(3.0, 0.0))

    assert statistics.median(line_search("tpe", tell, objectives=2)) < 0.45


@pytest.mark.parametrize("method", ALL)
def test_earlier_trials_teach_are_not_repeated_and_do_not_count(method: Method) -> None:
    few: dict[str, Parameter] = {"x": Int(type="int", low=0, high=63)}
    earlier = [earlier_trial({"x": x}, {1.0: abs(x - 40.0)}, TrialState.COMPLETE) for x in range(0, 63, 2)]
    searcher = Searcher(method, few, seed=0, start_from=[{"x": 2}, {"x": 5}])
    searcher.warm(earlier)
    made = [values["x"] for values in taken(searcher, 4)]
    assert all(x % 2 == 1 or x == 63 for x in made)
    assert made[1] == 5
    if method == "tpe":
        assert abs(made[0] - 40) < 15
