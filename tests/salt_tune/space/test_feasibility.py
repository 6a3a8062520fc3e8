"""What is asked of timm, and what is measured, before a search: few models, whatever the space holds."""

from pathlib import Path
from typing import Any

import pytest

from salt_tune.space import feasibility
from salt_tune.space.search_space import SearchSpace, SpaceError
from salt_tune.space.space_file import load_space
from tests.salt_tune.space_files import content, write
from trainable.salt import MOST_BUILT, SaltTask, students_to_build

VITS = ["vit_tiny_patch16_224", "vit_small_patch16_224"]


def space(tmp_path: Path, **changes: Any) -> tuple[Path, SearchSpace]:
    path = write(tmp_path, {**content(), **changes})
    return path, load_space(str(path), {})


def choice(*values: Any) -> dict[str, Any]:
    return {"type": "choice", "values": values}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"fixed": {"student": "vit_tiny_patch16_224x"}},
        r"fixed\.student = 'vit_tiny_patch16_224x': is no timm model; did",
    ),
    (
        {"fixed": {"student": "vit_tiny_patch16_224.nope"}},
        r"fixed\.student = .*: timm has no such weights; did you mean",
    ),
    ({"fixed": {"student_heads": 5}}, r"fixed\.student_heads = 5: must divide the width 768 of vit_base_patch16_224"),
    ({"start_from": [{}, {"student": "vit"}]}, r"start_from\[1\]\.student = 'vit': is no timm model"),
    (
        {"fixed": {}, "parameters": {"student": choice(*VITS, "resnet18")}},
        r"parameters\.student = 'resnet18': must be a plain Vision",
    ),
    (
        {"fixed": {}, "parameters": {"student": choice(*VITS), "student_heads": choice(3, 2, 4, 5)}},
        r"parameters\.student_heads = 5: must divide the width (192|384) of vit_",
    ),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_a_student_that_timm_cannot_build_is_told_with_where_it_stands(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path, found = space(tmp_path, **changes)
    with pytest.raises(SpaceError, match=words) as caught:
        feasibility.check_models(path, found, SaltTask("salt").check_models)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_students_that_can_be_built_are_each_built_once_and_not_too_many(tmp_path: Path) -> None:
    dims = {"type": "int", "low": 64, "high": 16384, "step": 64}
    parameters = {
        "student": choice(*VITS),
        "student_dim": dims,
        "predictor_depth": {"type": "int", "low": 1, "high": 9},
    }
    path, found = space(tmp_path, fixed={}, parameters=parameters)
    asked: list[dict[str, Any]] = []

    def remember(hyperparameters: list[dict[str, Any]]) -> None:
        asked.extend(hyperparameters[number] for number in students_to_build(hyperparameters))

    feasibility.check_models(path, found, remember)
    kinds = {(values["student"], values["student_dim"], values["student_heads"]) for values in asked}
    assert len(VITS) <= len(kinds) == len(asked) <= MOST_BUILT + len(VITS)
    assert {student for student, *_ in kinds} == {*VITS}


def test_a_space_of_which_nothing_fits_any_more_has_no_largest_model() -> None:
    entries = {**content(), "parameters": {"predictor_dim": choice(100, 101)}}
    assert feasibility.largest_models(SearchSpace.model_validate(entries), seed=0) == []
    entries["parameters"] = {"predictor_dim": choice(64, 100)}
    (largest,) = feasibility.largest_models(SearchSpace.model_validate(entries), seed=0)
    assert largest["predictor_dim"] == 64


def test_the_largest_model_may_be_one_that_predicts_visible_tokens_too(tmp_path: Path) -> None:
    parameters = {"context_weight": choice(0, 0.5), "predictor_dim": choice(64, 128)}
    _, found = space(tmp_path, parameters=parameters, start_from=[])
    (largest,) = feasibility.largest_models(found, seed=0)
    assert (largest["context_weight"], largest["predictor_dim"]) == (0.5, 128)
