"""What every searcher does, ours and any that is registered: no suggestion twice, each a function of what was told."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.run_directory.trials import TrialState
from salt_tune.controller.factory import make_searcher
from salt_tune.controller.new_trial import new_trial
from salt_tune.registry import SEARCHERS
from salt_tune.searchers.base import Searcher
from salt_tune.space.parameters import Choice, Int, Parameter, Range
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.made_trials import earlier
from tests.salt_tune.suggesting import MIXED, make, taken

FEW: dict[str, Parameter] = {"depth": Int(type="int", low=1, high=4)}

each = pytest.mark.parametrize("name", SEARCHERS)


def space(**entries: Any) -> SearchSpace:
    parameters = {
        "lr": {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
        "predictor_depth": {"type": "int", "low": 1, "high": 12},
    }
    return SearchSpace.model_validate({"name": "s", "parameters": parameters, "trials": 5, **entries})


@each
def test_its_class_says_what_a_space_needs_to_know(name: str) -> None:
    assert issubclass(SEARCHERS[name], Searcher)
    assert SEARCHERS[name].ranks_by_cost in (True, False)
    assert SEARCHERS[name].__doc__ and SEARCHERS[name].__module__


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


@each
@given(parameters=parameter_sets, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_suggestions_lie_in_their_ranges_and_none_comes_twice(
    name: str, parameters: dict[str, Parameter], seed: int
) -> None:
    made = taken(make(name, parameters, seed=seed), 20)
    assert len({tuple(values.items()) for values in made}) == len(made) > 0
    for values in made:
        assert values.keys() == parameters.keys()
        assert all(allowed(parameters[key], value) for key, value in values.items())


def follow(searcher: Searcher, story: list[tuple[str, int, float]], peeks: bool) -> dict[str, dict[str, Any]]:
    """Lets a search go as `story` says, whose numbers stand for trials; returns what was suggested."""
    made: dict[str, dict[str, Any]] = {}
    for what, number, score in story:
        trial = f"T{number % max(1, len(made))}"
        if what == "suggest":
            values = searcher.suggest(f"T{len(made)}")
            assert values is not None
            made[f"T{len(made)}"] = values
        elif what == "result":
            searcher.on_trial_result(trial, 1.0 + number % 3, score)
        else:
            searcher.on_trial_complete(trial, TrialState(what), score)
        if peeks:
            searcher.suggest(f"T{len(made)}")
    return made


stories = st.lists(
    st.tuples(
        st.sampled_from(["suggest", "suggest", "result", "result", "complete", "pruned", "diverged"]),
        st.integers(0, 20),
        st.floats(0, 1) | st.just(math.inf),
    ),
    max_size=20,
)


@each
@given(story=stories, seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_a_search_that_is_told_again_suggests_the_same(
    name: str, story: list[tuple[str, int, float]], seed: int
) -> None:
    def fresh() -> Searcher:
        return make(name, MIXED, seed=seed, start_from=[{"lr": 1e-3}], trials=6)

    first, second = fresh(), fresh()
    made = follow(first, story, peeks=True)
    assert made == follow(second, story, peeks=False)

    third = fresh()
    started = 0
    for what, number, score in story:
        trial = f"T{number % max(1, started)}"
        if what == "suggest":
            third.on_trial_add(f"T{started}", made[f"T{started}"])
            third.on_trial_add(f"T{started}", made["T0"])  # twice is once
            started += 1
        elif what == "result":
            third.on_trial_result(trial, 1.0 + number % 3, score)
        else:
            third.on_trial_complete(trial, TrialState(what), score)
    last = f"T{len(made)}"
    assert first.suggest(last) == second.suggest(last) == third.suggest(last)


@each
def test_after_enough_results_it_still_repeats_itself_when_told_again(name: str) -> None:
    def scored() -> Searcher:
        searcher = make(name, {"depth": Int(type="int", low=1, high=60)}, trials=6)
        for number in range(6):
            searcher.on_trial_add(f"T{number}", {"depth": 10 * number + 1})
            searcher.on_trial_result(f"T{number}", 1.0, (number - 2) ** 2)
        return searcher

    assert scored().suggest("T6") == scored().suggest("T6")


@each
def test_trials_that_it_did_not_suggest_are_passed_over(name: str) -> None:
    told, other = make(name, MIXED), make(name, MIXED)
    for searcher in (told, other):
        taken(searcher, 3)
    told.on_trial_result("T0-seed1", 1.0, 0.5)
    told.on_trial_complete("T0-seed1", TrialState.COMPLETE, 0.5)
    assert told.suggest("T3") == other.suggest("T3")


@each
def test_what_is_left_is_what_will_be_suggested(name: str) -> None:
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
    searcher = make(name, parameters, start_from=points, constants={"beta1": 0.9}, trials=500)
    searcher.warm_start([earlier({"depth": 7, "loss": "mse"}, {1.0: 0.5}, TrialState.PRUNED)])
    expected = 2 * 60 - 1 + 2  # without the earlier one, with the two points that lie elsewhere
    assert (searcher.left(500), searcher.left(expected), searcher.left(5), searcher.left(0)) == (121, 121, 5, 0)
    for number in range(expected):
        assert searcher.suggest(f"T{number}") is not None
        assert searcher.left(500) == expected - number - 1
    assert searcher.suggest(f"T{expected}") is None


@each
def test_points_alone_end(name: str) -> None:
    points = [{"lr": 1e-3}, {"lr": 1e-4}, {"lr": 1e-3}]
    searcher = make(name, {}, start_from=points, constants={"lr": 3e-4})
    assert searcher.left(9) == 2
    assert len(taken(searcher, 9)) == 2 and searcher.left(9) == 0


@each
def test_a_space_with_conditions_is_counted_as_it_is_suggested(name: str) -> None:
    parameters: dict[str, Parameter] = {
        "loss": Choice(type="choice", values=("mse", "l1")),
        "depth": Int(type="int", low=1, high=3, when={"loss": ("l1",)}),
    }
    searcher = make(name, parameters, trials=9, constants={"depth": 2})
    assert searcher.left(9) == 4 == len(taken(searcher, 9))


@each
def test_an_exhausted_space_ends_with_none(name: str) -> None:
    searcher = make(name, FEW, trials=9)
    made = []
    for number in range(4):
        made.append(searcher.suggest(f"T{number}"))
        searcher.on_trial_result(f"T{number}", 1.0, 0.5)
    assert sorted(values["depth"] for values in made if values) == [1, 2, 3, 4]
    assert searcher.suggest("T4") is None


@each
def test_the_seed_decides(name: str) -> None:
    assert taken(make(name, MIXED, seed=1), 5) == taken(make(name, MIXED, seed=1), 5)
    assert taken(make(name, MIXED, seed=1), 5) != taken(make(name, MIXED, seed=2), 5)


WHEN = {
    "loss": {"type": "choice", "values": ["mse", "l1"]},
    "grad_clip": {"type": "log_uniform", "low": 0.01, "high": 1.0, "when": {"loss": "l1"}},
    "predictor_depth": {"type": "int", "low": 1, "high": 2, "when": {"loss": "mse"}},
}


@each
def test_only_parameters_whose_conditions_hold_are_set(name: str) -> None:
    conditional = space(parameters=WHEN, searcher=name, trials=9, start_from=[{"loss": "l1"}])
    searcher = make_searcher(conditional, seed=0)
    made = []
    for number in range(9):
        values = searcher.suggest(f"T{number}")
        if values is None:
            break
        made.append(new_trial(conditional, f"T{number}", values, seed=0))
        searcher.on_trial_result(f"T{number}", 1.0, made[-1].config["grad_clip"] or 0)
    assert made[0].parameters.keys() == {"loss", "grad_clip"}
    for trial in made:
        other = "grad_clip" if trial.parameters["loss"] == "l1" else "predictor_depth"
        assert trial.parameters.keys() == {"loss", other}
    assert len({tuple(trial.config.items()) for trial in made}) == len(made)
    assert sum(trial.config["loss"] == "mse" for trial in made) <= 2


@each
def test_points_come_first_once_each_and_what_they_leave_out_is_drawn(name: str) -> None:
    point = {"lr": 1e-3, "predictor_depth": 2}
    made = taken(make_searcher(space(start_from=[point, point, {"lr": 1e-2}], searcher=name), seed=0), 4)
    assert made[0] == point
    assert made[1]["lr"] == 1e-2 and made[1]["predictor_depth"] in range(1, 13)
    assert point not in made[1:]


@each
def test_it_says_which_of_its_suggestions_are_points_to_start_from(name: str) -> None:
    searcher = make(name, MIXED, start_from=[{"lr": 1e-3, "depth": 4}, {"lr": 1e-3, "depth": 4}, {"dim": 64}])
    told = []
    for number in range(5):
        for _ in range(2):  # asked again, it is the same
            assert searcher.suggest(f"T{number}") is not None
        told.append(searcher.from_start)
    assert told == [True, True, True, False, False]


@each
def test_a_point_that_names_a_default_is_the_same_as_one_that_does_not(name: str) -> None:
    points = [{"batch_size": 32, "predictor_depth": 1}, {"predictor_depth": 1}]
    depths = space(parameters={"predictor_depth": {"type": "int", "low": 1, "high": 2}}, start_from=points)
    searcher = make_searcher(depths.model_copy(update={"searcher": name}), seed=0)
    assert [values["predictor_depth"] for values in taken(searcher, 5)] == [1, 2]


@each
def test_a_trial_asked_for_again_counts_once(name: str) -> None:
    searcher = make(name, MIXED)
    assert searcher.suggest("T0") == searcher.suggest("T0")
    assert searcher.suggest("T1") == taken(make(name, MIXED), 2)[1]


@each
def test_earlier_trials_are_not_repeated_and_do_not_count(name: str) -> None:
    few: dict[str, Parameter] = {"x": Int(type="int", low=0, high=63)}
    known = [earlier({"x": x}, {1.0: abs(x - 40.0)}) for x in range(0, 63, 2)]
    searcher = make(name, few, start_from=[{"x": 2}, {"x": 5}])
    searcher.warm_start(known)
    made = [values["x"] for values in taken(searcher, 4)]
    assert all(x % 2 == 1 or x == 63 for x in made)
    assert made[1] == 5


@each
def test_a_second_objective_is_taken_where_its_class_says_so(name: str) -> None:
    if not SEARCHERS[name].ranks_by_cost:
        with pytest.raises(ValueError, match=f"not {name}"):
            space(searcher=name, against="parameters", schedule={"scheduler": "none"})
        return
    searcher = make(name, MIXED, trials=6, objectives=2)
    for number in range(8):
        assert searcher.suggest(f"T{number}") is not None
        searcher.on_trial_result(f"T{number}", 1.0, float(number), cost=8.0 - number)
