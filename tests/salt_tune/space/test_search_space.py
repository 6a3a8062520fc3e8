"""Search-space files: what is read, what replaces it, and which configurations a space holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salt_tune.space.checks import check_corners
from salt_tune.space.corners import corners
from salt_tune.space.search_space import SearchSpace, SpaceError
from salt_tune.space.space_file import dump_space, load_space, parse_value, reload_space
from salt_tune.space.yaml12 import dump
from tests.salt_tune.space_files import content, write
from trainable.config import TrialConfig
from trainable.errors import ConfigError
from trainable.worker import Config


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
    ("objective", "val_r2", lambda space: space.objective.name, "val_r2"),
    ("schedule", {"seconds": 60}, lambda space: space.schedule.resource, "second"),
    ("searcher", "sobol", lambda space: space.searcher, "sobol"),
    ("start_from", [], lambda space: space.start_from, ()),
    ("evaluation.mask_ratio", 0.5, lambda space: space.evaluation["mask_ratio"], 0.5),
]


@pytest.mark.parametrize(("key", "value", "read", "expected"), OVERRIDES, ids=[override[0] for override in OVERRIDES])
def test_an_override_replaces_an_entry(
    tmp_path: Path, key: str, value: Any, read: Callable[[Any], Any], expected: Any
) -> None:
    assert read(load_space(str(write(tmp_path, content())), {key: value})) == expected


def test_a_hyperparameter_fixed_by_an_override_is_fixed_in_every_trial(tmp_path: Path) -> None:
    space = load_space(str(write(tmp_path, content())), {"lr": 1e-3})
    assert {space.config(values, seed=0)["lr"] for _, values in corners(space)} == {1e-3}
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


def test_a_space_that_was_resolved_reads_the_same_again(tmp_path: Path) -> None:
    space = load_space("demo", {"lr": 1e-3, "schedule.epochs": 2})
    path = write(tmp_path, space.model_dump(mode="json"))
    assert load_space(str(path), {}) == space


@pytest.mark.parametrize("text", ["3e-4", "5e1", "1e5", "2E3", "yes", "010", "1.5", "null", "2020-01-01"])
def test_a_text_that_looks_like_something_else_stays_a_text(tmp_path: Path, text: str) -> None:
    space = load_space(str(write(tmp_path, f"{dump({**content(), 'description': text, 'name': text})}")), {})
    assert (space.name, space.description) == (text, text)
    path = write(tmp_path, dump_space(space))
    assert load_space(str(path), {}) == reload_space(path) == space


@pytest.mark.parametrize("section", ["fixed", "start_from", "schedule", "evaluation", "promotion"])
def test_a_section_left_empty_is_as_if_it_were_not_there(tmp_path: Path, section: str) -> None:
    left_out = {name: entries for name, entries in content().items() if name != section}
    expected = load_space(str(write(tmp_path, left_out)), {})
    assert load_space(str(write(tmp_path, dump(left_out) + f"{section}:\n")), {}) == expected
    path = str(write(tmp_path, dump(left_out) + f"{section}:\n"))
    assert load_space(path, {"fixed.batch_size": 8, "schedule.reports": 3}).fixed["batch_size"] == 8


def test_a_condition_left_empty_is_none(tmp_path: Path) -> None:
    space = content()
    space["parameters"]["lr"]["when"] = None
    assert load_space(str(write(tmp_path, space)), {}) == load_space(str(write(tmp_path, content())), {})


def test_a_run_reads_its_space_again_whatever_is_thought_of_it_now(tmp_path: Path) -> None:
    path = write(tmp_path, {**content(), "fixed": {"predictor_num_heads": 5}})
    with pytest.raises(SpaceError, match="predictor_num_heads = 5"):
        load_space(str(path), {})
    assert reload_space(path).fixed == {"predictor_num_heads": 5}


def test_a_setting_names_no_key_twice() -> None:
    with pytest.raises(SpaceError, match=r"^--set \{epochs: 1, epochs: 2\}: epochs stands twice \(line 1\)$"):
        parse_value("{epochs: 1, epochs: 2}")


def test_a_trial_has_the_epochs_of_a_schedule_that_counts_in_them(tmp_path: Path) -> None:
    path = str(write(tmp_path, content()))
    assert load_space(path, {"schedule.epochs": 5}).config({}, seed=7)["epochs"] == 5
    assert load_space(path, {"schedule.epochs": 5}).config({}, seed=7)["seed"] == 7
    for unit in ("tflops", "seconds"):
        space = load_space(path, {"schedule": {unit: 1000}})
        assert space.config({}, seed=0)["epochs"] == TrialConfig().epochs


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


@given(parameters=SAFE_PARAMETERS.filter(lambda parameters: "lr" in parameters), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_drawn_from_any_space_lies_within_it(tmp_path: Path, parameters: dict[str, Any], seed: int) -> None:
    space = load_space(str(write(tmp_path, {"name": "any", "parameters": parameters, "trials": 1})), {})
    values = space.conditions.fill({}, drawing(space, seed))
    config = space.config(values, seed=0)
    assert values.keys() == parameters.keys()
    for name, value in values.items():
        assert config[name] == value
        entry = parameters[name]
        if entry["type"] == "choice":
            assert value in entry["values"]
        else:
            assert entry["low"] <= value <= entry["high"]
        if entry["type"] == "int":
            assert (value - entry["low"]) % entry["step"] == 0


def drawing(space: SearchSpace, seed: int) -> Callable[[str], Any]:
    """Draws from the distributions of parameters, as Optuna knows them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return lambda name: study.ask({name: space.parameters[name].distribution()}).params[name]


@given(lr=st.floats(1e-6, 1.0), dims=st.lists(st.integers(1, 600), min_size=1, max_size=4, unique=True))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_space_is_refused_or_every_trial_of_it_is_valid(tmp_path: Path, lr: float, dims: list[int]) -> None:
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
        space.config(space.conditions.fill({}, drawing(space, 0)), seed=0)
    assert refused == any(dim % 64 for dim in dims)


def test_a_check_sees_all_values(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    space = load_space(str(path), {})
    seen: list[Config] = []
    check_corners(path, space, seen.append)
    for name, values in {"lr": {1e-4, 1e-2, 3e-4}, "predictor_dim": {64, 128}, "predictor_depth": {1, 2, 3, 4}}.items():
        assert {config[name] for config in seen} == values

    def refuse(config: Any) -> None:
        if config["predictor_depth"] == 4:
            raise ConfigError("predictor_depth", 4, "is too deep")

    with pytest.raises(SpaceError, match=r"parameters\.predictor_depth = 4: is too deep"):
        check_corners(path, space, refuse)
