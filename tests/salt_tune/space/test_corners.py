"""The values that are checked before a search, and the largest models of a space."""

from pathlib import Path
from typing import Any

import pytest

from salt_tune.space.corners import corners, largest
from salt_tune.space.search_space import SpaceError
from salt_tune.space.space_file import load_space
from tests.salt_tune.space_files import write

WIDE = {
    "lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2},
    "predictor_depth": {"type": "int", "low": 1, "high": 32},
    "student_depth": {"type": "int", "low": 1, "high": 32},
    "batch_size": {"type": "int", "low": 1, "high": 8},
    "mask_ratio": {"type": "uniform", "low": 0.4, "high": 0.7},
}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"predictor_dim": {"type": "choice", "values": [64, 100]}}, "parameters.predictor_dim = 100: must be div"),
        ({"predictor_dim": {"type": "int", "low": 64, "high": 6400, "step": 32}}, "parameters.predictor_dim = 96: "),
        ({"predictor_dim": {"type": "int", "low": 1, "high": 65536}}, "parameters.predictor_dim = 1: "),
        (
            {
                "predictor_dim": {"type": "choice", "values": [64, 96]},
                "predictor_num_heads": {"type": "choice", "values": [4, 5], "when": {"predictor_dim": 96}},
            },
            "parameters.predictor_dim = 96: must be divisible by predictor_num_heads = 5",
        ),
        (
            {
                "loss": {"type": "choice", "values": ["mse", "l1"]},
                "predictor_num_heads": {"type": "choice", "values": [1, 2], "when": {"loss": "l1"}},
                "predictor_dim": {"type": "choice", "values": [64, 96]},
            },
            "parameters.predictor_dim = 96: must be divisible by 64",
        ),
        ({"min_lr": {"type": "uniform", "low": 0, "high": 1e-3}}, "parameters.min_lr = 0.001: must not be above lr"),
    ],
)
def test_a_value_is_found_however_many_combinations_there_are(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    path = write(tmp_path, {"name": "wide", "parameters": {**WIDE, **more}, "trials": 8})
    with pytest.raises(SpaceError, match=words.replace("[", r"\[")):
        load_space(str(path), {})


def test_few_configurations_are_tried(tmp_path: Path) -> None:
    """A number, not a time: each takes a tenth of a millisecond."""
    heads = {"predictor_dim": {"type": "choice", "values": [*range(64, 4096, 64)]}}
    path = write(tmp_path, {"name": "wide", "parameters": {**WIDE, **heads}, "trials": 8})
    assert len([*corners(load_space(str(path), {}))]) < 300


def test_the_largest_models_are_few(tmp_path: Path) -> None:
    students = {"student": {"type": "choice", "values": ["vit_tiny_patch16_224", "vit_small_patch16_224"]}}
    more = {
        **students,
        "predictor_dim": {"type": "choice", "values": [256, 64, 128]},
        "masking": {"type": "choice", "values": ["tube", "random"]},
        "student_dim": {"type": "int", "low": 64, "high": 640, "step": 64, "when": {"masking": "tube"}},
    }
    path = write(tmp_path, {"name": "wide", "parameters": {**WIDE, **more}, "trials": 8})
    found = [*largest(load_space(str(path), {}))]
    names = ("student", "student_dim", "student_depth", "predictor_dim", "predictor_depth")
    assert {tuple(values.get(name) for name in names) for values in found} == {
        (student, dim, 32, 256, 32) for student in students["student"]["values"] for dim in (640, None)
    }
    assert len(found) == 4


def test_what_makes_a_model_smaller_does_not_hide_where_it_is_largest(tmp_path: Path) -> None:
    parameters = {
        "predictor_dim": {"type": "choice", "values": [64, 512]},
        "predictor_depth": {"type": "int", "low": 1, "high": 24, "when": {"predictor_dim": 64}},
    }
    path = write(tmp_path, {"name": "two", "fixed": {"predictor_depth": 2}, "parameters": parameters, "trials": 2})
    space = load_space(str(path), {})
    configs = [space.config(values, seed=0) for values in largest(space)]
    assert {(config["predictor_dim"], config["predictor_depth"]) for config in configs} == {(64, 24), (512, 2)}
