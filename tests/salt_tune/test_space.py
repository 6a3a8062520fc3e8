"""Search-space files: what is read, and that every mistake gets one line with file, field, value and what is right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salt_tune.space import SpaceError
from salt_tune.space_file import check_corners, load_space, parse_value
from trainable.errors import ConfigError

Edit = Callable[[dict[str, Any]], Any]


def content() -> dict[str, Any]:
    return {
        "name": "small",
        "fixed": {"student": "vit_tiny_patch16_224", "batch_size": 8},
        "parameters": {
            "lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2},
            "predictor_dim": {"type": "choice", "values": [64, 128]},
            "predictor_depth": {"type": "int", "low": 1, "high": 4},
        },
        "start_from": [{"lr": 3e-4}],
        "schedule": {"epochs": 3, "grace_epochs": 1, "reduction_factor": 3},
        "trials": 4,
    }


def write(folder: Path, value: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value), encoding="utf-8")
    return path


def put(dotted: str, value: Any) -> Edit:
    """An edit of the content above: the entry of this name becomes `value`."""

    def edit(space: dict[str, Any]) -> dict[str, Any]:
        *above, last = dotted.split(".")
        inner = space
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
        return space

    return edit


MISTAKES: dict[str, tuple[Edit, list[str]]] = {
    "misspelt entry": (put("shedule", {}), ["shedule", "did you mean 'schedule'"]),
    "misspelt hyperparameter": (
        put("parameters.learning_rat", {"type": "uniform", "low": 0, "high": 1}),
        ["parameters.learning_rat", "known are", "lr"],
    ),
    "misspelt hyperparameter, close": (
        put("parameters.mask_ratoi", {"type": "uniform", "low": 0.1, "high": 0.2}),
        ["did you mean 'mask_ratio'"],
    ),
    "misspelt fixed": (put("fixed.batchsize", 8), ["fixed.batchsize", "did you mean 'batch_size'"]),
    "misspelt in start_from": (
        put("start_from", [{"lr": 1e-3}, {"lrr": 1e-3}]),
        ["start_from[1].lrr", "did you mean 'lr'"],
    ),
    "misspelt type": (
        put("parameters.lr.type", "loguniform"),
        ["parameters.lr", "type = 'loguniform'", "uniform, log_uniform, int or choice"],
    ),
    "no type": (put("parameters.lr", {"low": 1, "high": 2}), ["parameters.lr", "type", "log_uniform"]),
    "not a mapping for a parameter": (put("parameters.lr", 3e-4), ["parameters.lr", "0.0003"]),
    "misspelt inner entry": (put("parameters.lr.hihg", 1), ["parameters.lr.hihg", "did you mean 'high'"]),
    "misspelt schedule entry": (
        put("schedule.grace_epoch", 1),
        ["schedule.grace_epoch", "did you mean 'grace_epochs'"],
    ),
    "misspelt evaluation entry": (
        put("evaluation.mask_ration", 1),
        ["evaluation.mask_ration", "did you mean 'mask_ratio'"],
    ),
    "misspelt promotion entry": (put("promotion.epoch", 1), ["promotion.epoch", "did you mean 'epochs'"]),
    "misspelt objective": (put("objective", "loss"), ["objective = 'loss'", "'val_loss'", "'val_r2'"]),
    "misspelt scheduler": (put("schedule.scheduler", "asah"), ["schedule.scheduler = 'asah'", "'asha'", "'none'"]),
    "low above high": (put("parameters.lr.high", 1e-5), ["parameters.lr.high = 1e-05", "must be above low = 0.0001"]),
    "int low above high": (
        put("parameters.predictor_depth.low", 9),
        ["parameters.predictor_depth.high = 4", "low = 9"],
    ),
    "log_uniform from 0": (put("parameters.lr.low", 0), ["parameters.lr.low = 0", "above 0"]),
    "log int from 0": (
        put("parameters.predictor_depth", {"type": "int", "low": 0, "high": 4, "log": True}),
        ["log = True", "at least 1"],
    ),
    "step 0": (put("parameters.predictor_depth.step", 0), ["parameters.predictor_depth.step = 0", "1"]),
    "infinite": (put("parameters.lr.high", float("inf")), ["parameters.lr.high = inf", "finite"]),
    "a text for a number": (put("parameters.lr.low", "tiny"), ["parameters.lr.low = 'tiny'", "number"]),
    "empty choice": (
        put("parameters.predictor_dim.values", []),
        ["parameters.predictor_dim.values = []", "at least one"],
    ),
    "twice in a choice": (put("parameters.predictor_dim.values", [64, 64]), ["[64, 64]", "twice"]),
    "width in a choice": (
        put("parameters.predictor_dim.values", [64, 100]),
        ["parameters.predictor_dim = 100", "divisible by 64"],
    ),
    "width by given heads": (
        put("fixed.predictor_num_heads", 3),
        ["parameters.predictor_dim = 64", "predictor_num_heads = 3"],
    ),
    "fixed width": (
        lambda space: {**space, "parameters": {"lr": space["parameters"]["lr"]}, "fixed": {"predictor_dim": 100}},
        ["fixed.predictor_dim = 100", "divisible by 64"],
    ),
    "width in start_from": (
        put("start_from", [{}, {"predictor_dim": 100}]),
        ["start_from[1].predictor_dim = 100", "divisible by 64"],
    ),
    "out of a hyperparameter's range": (
        put("parameters.mask_ratio", {"type": "uniform", "low": 0.5, "high": 1.0}),
        ["parameters.mask_ratio = 1.0", "between 0 and 1"],
    ),
    "min_lr above some lr": (put("fixed.min_lr", 1e-3), ["fixed.min_lr = 0.001", "must not be above lr"]),
    "of the wrong kind": (put("fixed.batch_size", "eight"), ["fixed.batch_size = 'eight'", "whole number"]),
    "no trials": (put("trials", 0), ["trials = 0", "1"]),
    "half a trial": (put("trials", 1.5), ["trials = 1.5", "integer"]),
    "grace above epochs": (put("schedule.grace_epochs", 4), ["schedule.grace_epochs = 4", "epochs = 3"]),
    "reduction below 2": (put("schedule.reduction_factor", 1), ["schedule.reduction_factor = 1", "2"]),
    "epochs in fixed": (put("fixed.epochs", 5), ["fixed.epochs", "schedule.epochs"]),
    "seed in fixed": (put("fixed.seed", 5), ["fixed.seed", "--seed"]),
    "epochs in start_from": (put("start_from", [{"epochs": 1}]), ["start_from[0].epochs", "schedule.epochs"]),
    "fixed and searched": (put("fixed.lr", 1e-3), ["parameters.lr", "fixed too"]),
    "nothing to draw": (put("parameters", {}), ["trials = 4", "no parameters"]),
    "name for a folder elsewhere": (put("name", "../x"), ["name = '../x'"]),
    "no name": (lambda space: {k: v for k, v in space.items() if k != "name"}, ["name", "missing"]),
    "a list": (lambda _: [1, 2], ["mapping"]),
    "empty": (lambda _: "", ["mapping"]),
    "a number": (lambda _: "3", ["mapping"]),
    "broken": (lambda _: "name: [1, 2\ntrials: 3", ["not YAML"]),
    "parameters as a list": (put("parameters", ["lr"]), ["parameters", "lr"]),
    "parameters empty": (put("parameters", None), ["parameters", "None"]),
    "start_from as a mapping": (put("start_from", {"lr": 1e-3}), ["start_from"]),
    "a list in fixed": (put("fixed.lr", [1, 2]), ["fixed.lr = [1, 2]"]),
    "number as a hyperparameter": (put("fixed", {3: 4}), ["fixed"]),
}


@pytest.mark.parametrize(("edit", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line(tmp_path: Path, edit: Edit, words: list[str]) -> None:
    path = write(tmp_path, edit(content()))
    with pytest.raises(SpaceError) as caught:
        load_space(str(path), {})
    message = " ".join(str(caught.value).split())
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message
    assert "pydantic" not in message


def test_a_file_that_is_not_there_gets_the_names_that_are() -> None:
    with pytest.raises(SpaceError, match="vit_bas: no such search-space file; did you mean 'vit_base'"):
        load_space("vit_bas", {})
    with pytest.raises(SpaceError, match=r"no/such\.yaml"):
        load_space("no/such.yaml", {})


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpaceError, match="not YAML"):
        load_space(str(path), {})


@pytest.mark.parametrize("text", ["3e-4", "3.0e-4", "0.0003", "3E-4", "+3e-4"])
def test_a_number_in_any_notation_is_a_number(tmp_path: Path, text: str) -> None:
    path = write(
        tmp_path,
        f"name: n\nfixed: {{lr: {text}}}\nparameters: {{warmup: {{type: uniform, low: 0, high: .5}}}}\ntrials: 1\n",
    )
    assert load_space(str(path), {}).fixed["lr"] == 3e-4
    assert parse_value(text) == 3e-4


OVERRIDES: list[tuple[str, Any, Callable[[Any], Any], Any]] = [
    ("schedule.epochs", 5, lambda space: space.schedule.epochs, 5),
    ("parameters.lr.low", 1e-3, lambda space: space.parameters["lr"].low, 1e-3),
    ("fixed.batch_size", 16, lambda space: space.fixed["batch_size"], 16),
    ("batch_size", 16, lambda space: space.fixed["batch_size"], 16),
    ("lr", 1e-3, lambda space: (space.fixed["lr"], "lr" in space.parameters), (1e-3, False)),
    ("trials", 9, lambda space: space.trials, 9),
    ("objective", "val_r2", lambda space: space.objective, "val_r2"),
    ("start_from", [], lambda space: space.start_from, ()),
    ("evaluation.mask_ratio", 0.5, lambda space: space.evaluation.mask_ratio, 0.5),
]


@pytest.mark.parametrize(("key", "value", "read", "expected"), OVERRIDES, ids=[override[0] for override in OVERRIDES])
def test_an_override_replaces_an_entry(
    tmp_path: Path, key: str, value: Any, read: Callable[[Any], Any], expected: Any
) -> None:
    assert read(load_space(str(write(tmp_path, content())), {key: value})) == expected


def test_a_hyperparameter_fixed_by_an_override_is_fixed_in_every_trial(tmp_path: Path) -> None:
    from salt_tune.searcher import propose

    space = load_space(str(write(tmp_path, content())), {"lr": 1e-3})
    assert {proposal.config.lr for proposal in propose(space, seed=0)} == {1e-3}
    assert "lr" not in space.searched()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("schedule.epoch", 3, ["schedule.epoch", "did you mean 'epochs'"]),
        ("batch_sise", 3, ["batch_sise", "batch_size"]),
        ("lr.low", 3, ["lr.low", "unknown entry"]),
        ("parameters.lr.low", 3, ["parameters.lr.high = 0.01", "low = 3"]),
        ("name.of", 3, ["name.of", "'name'"]),
        ("epochs", 3, ["epochs", "schedule.epochs"]),
        ("predictor_dim", 100, ["predictor_dim = 100", "64"]),
    ],
)
def test_an_override_that_does_not_fit_is_told_in_one_line(
    tmp_path: Path, key: str, value: Any, words: list[str]
) -> None:
    path = write(tmp_path, content())
    with pytest.raises(SpaceError) as caught:
        load_space(str(path), {key: value})
    for word in words:
        assert word in str(caught.value)


def test_overrides_leave_parameters_that_are_not_a_mapping_to_the_check(tmp_path: Path) -> None:
    for broken in (None, ["lr"]):
        path = write(tmp_path, {**content(), "parameters": broken})
        with pytest.raises(SpaceError, match="parameters"):
            load_space(str(path), {"lr": 1e-3})


@pytest.mark.parametrize(
    ("schedule", "rungs"),
    [
        ({"epochs": 3}, [1, 3]),
        ({"epochs": 10}, [1, 3, 9, 10]),
        ({"epochs": 8, "grace_epochs": 2, "reduction_factor": 2}, [2, 4, 8]),
        ({"epochs": 3, "grace_epochs": 3}, [3]),
        ({"epochs": 10, "scheduler": "none"}, [10]),
    ],
)
def test_rungs_are_where_trials_are_compared(tmp_path: Path, schedule: dict[str, Any], rungs: list[float]) -> None:
    assert load_space(str(write(tmp_path, {**content(), "schedule": schedule})), {}).schedule.rungs() == rungs


def test_a_space_that_was_resolved_reads_the_same_again(tmp_path: Path) -> None:
    space = load_space("demo", {"lr": 1e-3, "schedule.epochs": 2})
    path = write(tmp_path, space.model_dump(mode="json"))
    assert load_space(str(path), {}) == space


SAFE_PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.builds(
            lambda low, factor: {"type": "log_uniform", "low": low, "high": low * factor},
            st.floats(1e-6, 1e-2),
            st.floats(1.1, 100),
        ),
        "mask_ratio": st.builds(
            lambda low, width: {"type": "uniform", "low": low, "high": low + width},
            st.floats(0.1, 0.5),
            st.floats(0.1, 0.4),
        ),
        "predictor_depth": st.builds(
            lambda low, more, step: {"type": "int", "low": low, "high": low + more, "step": step},
            st.integers(1, 6),
            st.integers(1, 9),
            st.integers(1, 3),
        ),
        "predictor_dim": st.lists(st.sampled_from([64, 128, 192, 256]), min_size=1, unique=True).map(
            lambda values: {"type": "choice", "values": values}
        ),
        "masking": st.just({"type": "choice", "values": ["tube", "random"]}),
    },
)


@given(
    parameters=SAFE_PARAMETERS.filter(lambda parameters: "lr" in parameters),
    seed=st.integers(0, 2**32 - 1),
    trials=st.integers(1, 6),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_proposals_of_any_space_lie_within_it(
    tmp_path: Path, parameters: dict[str, Any], seed: int, trials: int
) -> None:
    from salt_tune.searcher import propose

    space = load_space(str(write(tmp_path, {"name": "any", "parameters": parameters, "trials": trials})), {})
    proposals = propose(space, seed)
    assert [proposal.id for proposal in proposals] == [f"T{number}" for number in range(trials)]
    assert len({proposal.config for proposal in proposals}) == trials
    for proposal in proposals:
        assert proposal.parameters.keys() == parameters.keys()
        for name, value in proposal.parameters.items():
            assert getattr(proposal.config, name) == value
            entry = parameters[name]
            if entry["type"] == "choice":
                assert value in entry["values"]
            else:
                assert entry["low"] <= value <= entry["high"]
            if entry["type"] == "int":
                assert (value - entry["low"]) % entry["step"] == 0
    assert propose(space, seed) == proposals


@given(lr=st.floats(1e-6, 1.0), dims=st.lists(st.integers(1, 600), min_size=1, max_size=4, unique=True))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_space_is_refused_or_every_trial_of_it_is_valid(tmp_path: Path, lr: float, dims: list[int]) -> None:
    from salt_tune.searcher import propose

    parameters = {
        "lr": {"type": "log_uniform", "low": lr / 10, "high": lr},
        "predictor_dim": {"type": "choice", "values": dims},
    }
    path = write(tmp_path, {"name": "any", "parameters": parameters, "trials": 5})
    try:
        space = load_space(str(path), {})
    except SpaceError:
        refused = True
    else:
        refused = False
        propose(space, seed=0)
    assert refused == any(dim % 64 for dim in dims)


def test_a_check_of_the_corners_sees_all_ends(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    space = load_space(str(path), {})
    seen = set()
    check_corners(path, space, lambda config: seen.add((config.lr, config.predictor_dim, config.predictor_depth)))
    assert {(lr, dim, depth) for lr in (1e-4, 1e-2) for dim in (64, 128) for depth in (1, 2, 3, 4)} <= seen

    def refuse(config: Any) -> None:
        if config.predictor_depth == 4:
            raise ConfigError("predictor_depth", 4, "is too deep")

    with pytest.raises(SpaceError, match=r"parameters\.predictor_depth = 4: is too deep"):
        check_corners(path, space, refuse)
