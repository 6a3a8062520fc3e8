"""Parameters that are searched only where others have certain values."""

from pathlib import Path
from typing import Any

import pytest

from salt_tune.space.conditions import Conditions
from salt_tune.space.corners import corners
from salt_tune.space.parameters import Choice, Int, Parameter, Range
from salt_tune.space.search_space import SearchSpace, SpaceError
from salt_tune.space.space_file import load_space
from tests.salt_tune.space_files import Edit, put, refusal, write
from trainable.config import TrialConfig


def content() -> dict[str, Any]:
    """Heads are searched at one width, and a third parameter hangs on them."""
    return {
        "name": "conditional",
        "fixed": {"student": "vit_tiny_patch16_224", "loss": "l1"},
        "parameters": {
            "predictor_dim": {"type": "choice", "values": [64, 96, 128]},
            "predictor_depth": {"type": "int", "low": 2, "high": 6, "step": 2, "when": {"predictor_dim": [64, 128]}},
            "predictor_num_heads": {"type": "choice", "values": [3, 6], "when": {"predictor_dim": 96}},
            "warmup": {"type": "uniform", "low": 0.1, "high": 0.2, "when": {"predictor_num_heads": 6, "loss": "l1"}},
        },
        "trials": 4,
    }


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    return load_space(str(write(tmp_path, content())), {})


def tried(space: SearchSpace) -> list[dict[str, Any]]:
    """The values that are tried, wherever they stand."""
    return [values for _, values in corners(space)]


def test_a_parameter_is_tried_only_where_its_conditions_hold(space: SearchSpace) -> None:
    depths = [{"predictor_dim": dim, "predictor_depth": depth} for dim in (64, 128) for depth in (2, 4, 6)]
    heads: list[dict[str, Any]] = [{"predictor_dim": 96, "predictor_num_heads": 3}]
    heads += [{"predictor_dim": 96, "predictor_num_heads": 6, "warmup": warmup} for warmup in (0.1, 0.2)]
    found = tried(space)
    assert all(values in [*depths, *heads] for values in found)
    for name, parameter in space.parameters.items():
        assert {values[name] for values in found if name in values} == {*parameter.corners()}
    assert {(values["predictor_dim"], values.get("predictor_num_heads")) for values in found} == {
        (64, None), (128, None), (96, 3), (96, 6),
    }  # fmt: skip


def test_a_point_is_tried_with_all_that_may_be_drawn_beside_it(tmp_path: Path) -> None:
    parameters = {"predictor_dim": {"type": "choice", "values": [320, 64]}}
    space = {"name": "points", "parameters": parameters, "trials": 2, "start_from": [{"lr": 1e-3}, {"beta1": 0.8}]}
    load_space(str(write(tmp_path, space)), {})
    path = write(tmp_path, {**space, "start_from": [{"lr": 1e-3}, {"predictor_num_heads": 5}]})
    with pytest.raises(
        SpaceError, match=r"start_from\[1\]\.predictor_dim = 64: must be divisible by predictor_num_heads"
    ):
        load_space(str(path), {})


def test_what_is_not_set_has_its_default_and_asks_for_no_draw(space: SearchSpace) -> None:
    drawn: list[str] = []

    def draw(name: str) -> Any:
        drawn.append(name)
        return space.parameters[name].corners()[-1]

    values = space.conditions.fill({"predictor_dim": 64, "warmup": 0.15, "beta1": 0.8}, draw)
    assert drawn == ["predictor_depth"]
    assert values == {"predictor_dim": 64, "predictor_depth": 6, "beta1": 0.8}
    config = space.config({**values, "warmup": 0.15, "predictor_num_heads": 6}, seed=0)
    assert (config["predictor_num_heads"], config["warmup"], config["beta1"]) == (None, TrialConfig().warmup, 0.8)


def test_what_is_not_set_has_its_fixed_value(tmp_path: Path) -> None:
    path = str(write(tmp_path, put("fixed.predictor_depth", 3)(content())))
    space = load_space(path, {})
    assert space.config({"predictor_dim": 64, "predictor_depth": 4}, seed=0)["predictor_depth"] == 4
    assert space.config({"predictor_dim": 96, "predictor_num_heads": 3}, seed=0)["predictor_depth"] == 3


@pytest.mark.parametrize(
    ("values", "active"),
    [
        ({"predictor_dim": 64}, {"predictor_dim"}),
        ({"predictor_dim": 96, "predictor_num_heads": 6, "warmup": 0.1}, None),
        ({"predictor_dim": 96, "predictor_num_heads": 3, "warmup": 0.1}, {"predictor_dim", "predictor_num_heads"}),
        ({"predictor_dim": 64, "predictor_num_heads": 6, "warmup": 0.1}, {"predictor_dim"}),
        ({"predictor_num_heads": 6, "warmup": 0.1}, set()),
        ({"predictor_dim": 96, "warmup": 0.1, "loss": "mse"}, {"predictor_dim"}),
    ],
)
def test_a_condition_on_what_is_not_set_does_not_hold(
    space: SearchSpace, values: dict[str, Any], active: set[str] | None
) -> None:
    assert space.conditions.active(values) == (values.keys() if active is None else active)


def test_a_space_with_conditions_reads_the_same_again(space: SearchSpace, tmp_path: Path) -> None:
    assert load_space(str(write(tmp_path, space.model_dump(mode="json"))), {}) == space


def test_a_point_may_leave_the_condition_to_the_draw(tmp_path: Path) -> None:
    path = write(tmp_path, {**content(), "start_from": [{"predictor_num_heads": 6}, {"loss": "mse"}]})
    places: dict[str, list[dict[str, Any]]] = {}
    for place, values in corners(load_space(str(path), {})):
        places.setdefault(place, []).append(values)
    assert {"predictor_dim": 64, "predictor_depth": 2} in places["start_from[0]"]
    assert {"predictor_dim": 96, "predictor_num_heads": 6, "warmup": 0.1} in places["start_from[0]"]
    assert {values["loss"] for values in places["start_from[1]"]} == {"mse"}
    assert not any("warmup" in values for values in places["start_from[1]"])


MISTAKES: dict[str, tuple[Edit, list[str]]] = {
    "misspelt": (
        put("parameters.predictor_depth.when", {"predictor_dime": 64}),
        ["parameters.predictor_depth.when.predictor_dime", "did you mean 'predictor_dim'"],
    ),
    "itself": (
        put("parameters.predictor_depth.when", {"predictor_depth": 2}),
        ["parameters.predictor_depth.when.predictor_depth: is the parameter itself"],
    ),
    "a later one": (
        put("parameters.predictor_dim.when", {"predictor_num_heads": 3}),
        ["parameters.predictor_dim.when.predictor_num_heads", "must stand before predictor_dim"],
    ),
    "a value that a choice has not": (
        put("parameters.predictor_depth.when", {"predictor_dim": [64, 65]}),
        ["parameters.predictor_depth.when.predictor_dim = 65", "no value that parameters.predictor_dim can take"],
    ),
    "a value between the steps of an int": (
        put("parameters.warmup.when", {"predictor_depth": 3}),
        ["parameters.warmup.when.predictor_depth = 3", "no value"],
    ),
    "a value of a range": (
        put("parameters.lr", {"type": "uniform", "low": 1e-4, "high": 1e-3, "when": {"warmup": 0.1}}),
        ["parameters.lr.when.warmup = 0.1", "drawn from a range"],
    ),
    "never, by what is fixed": (
        put("fixed.loss", "mse"),
        ["parameters.warmup.when.loss = 'l1'", "never holds, loss is 'mse'"],
    ),
    "never, by default": (
        put("parameters.warmup.when", {"masking": ["tube", "random"]}),
        ["parameters.warmup.when.masking = 'tube' or 'random'", "masking is 'multiblock'"],
    ),
    "the seed": (put("parameters.warmup.when", {"seed": 0}), ["parameters.warmup.when.seed", "--seed"]),
    "no values": (put("parameters.warmup.when", {"loss": []}), ["parameters.warmup.when.loss = []", "at least one"]),
    "no mapping": (put("parameters.warmup.when", "loss"), ["parameters.warmup.when = 'loss'"]),
    "in a point": (
        put("start_from", [{}, {"predictor_dim": 64, "predictor_num_heads": 3}]),
        ["start_from[1].predictor_num_heads = 3", "only where predictor_dim is 96", "here it is 64"],
    ),
    "in a point, by what is not searched": (
        put("start_from", [{"loss": "mse", "warmup": 0.1}]),
        ["start_from[0].warmup = 0.1", "only where loss is 'l1'", "here it is 'mse'"],
    ),
    "a corner where the condition holds": (
        put("parameters.predictor_num_heads.values", [5, 6]),
        ["parameters.predictor_dim = 96", "divisible by predictor_num_heads = 5"],
    ),
}


@pytest.mark.parametrize(("edit", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line(tmp_path: Path, edit: Edit, words: list[str]) -> None:
    message = refusal(write(tmp_path, edit(content())))
    for word in words:
        assert word in message


def test_a_hyperparameter_that_only_points_vary_can_be_a_condition(tmp_path: Path) -> None:
    edited = put("start_from", [{"loss": "mse"}])(put("parameters.warmup.when", {"loss": "mse"})(content()))
    space = load_space(str(write(tmp_path, edited)), {})
    assert {("warmup" in values, values.get("loss")) for values in tried(space)} == {(False, None), (True, "mse")}


def test_fixing_what_a_condition_asks_for_decides_it(tmp_path: Path) -> None:
    path = str(write(tmp_path, content()))
    with pytest.raises(SpaceError, match=r"predictor_depth\.when\.predictor_dim = 64 or 128: never holds"):
        load_space(path, {"predictor_dim": 96})
    space = load_space(path, {"predictor_dim": 96, "predictor_depth": 2})
    assert all("predictor_num_heads" in values for values in tried(space))


PARAMETERS: dict[str, Parameter] = {
    "loss": Choice(type="choice", values=("mse", "l1")),
    "depth": Int(type="int", low=1, high=5, step=2, when={"loss": ("l1",), "size": ("large",)}),
    "clip": Choice(type="choice", values=(0.1, 0.2), when={"depth": (3,)}),
}


def test_the_walk_goes_through_all_that_is_set_together() -> None:
    conditions = Conditions(PARAMETERS, {"size": "large"})
    walked = [*conditions.configurations({})]
    assert walked == [
        {"loss": "mse"},
        {"loss": "l1", "depth": 1},
        {"loss": "l1", "depth": 3, "clip": 0.1},
        {"loss": "l1", "depth": 3, "clip": 0.2},
        {"loss": "l1", "depth": 5},
    ]
    assert [*conditions.configurations({"depth": 3, "seed": 7})] == [
        {"seed": 7, "loss": "mse"},
        {"seed": 7, "loss": "l1", "depth": 3, "clip": 0.1},
        {"seed": 7, "loss": "l1", "depth": 3, "clip": 0.2},
    ]


def test_a_constant_or_a_point_decides_a_condition_on_what_is_not_searched() -> None:
    assert [*Conditions(PARAMETERS).configurations({})] == [{"loss": "mse"}, {"loss": "l1"}]
    assert len([*Conditions(PARAMETERS).configurations({"size": "large"})]) == 5
    assert len([*Conditions(PARAMETERS, {"size": "large"}).configurations({"size": "small"})]) == 2


def test_the_walk_over_some_parameters_leaves_the_others_out() -> None:
    options: dict[str, list[Any]] = {"loss": ["l1"], "depth": [1, 3]}
    walked = Conditions(PARAMETERS, {"size": "large"}).walk(options.__getitem__, {}, ["loss", "depth"])
    assert [*walked] == [{"loss": "l1", "depth": 1}, {"loss": "l1", "depth": 3}]


def test_only_a_range_has_no_end() -> None:
    assert Conditions(PARAMETERS).finite and Conditions({}).finite
    lr = Range(type="uniform", low=0.1, high=0.3)
    assert not Conditions({**PARAMETERS, "lr": lr}).finite
    assert [*Conditions({"lr": lr}).configurations({})] == [{"lr": 0.1}, {"lr": 0.3}]
