"""The search-space files that come with the package."""

import re

import pytest

from analysis.run_directory.events import TrialAdded
from salt_tune.controller.factory import make_searcher
from salt_tune.controller.new_trial import new_trial
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import load_space
from tests.conftest import ROOT
from trainable.config import TrialConfig

FOLDER = ROOT / "search_spaces"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
BEST_BY_HAND = {"lr": 3e-4, "mask_ratio": 0.75, "predictor_depth": 12, "predictor_dim": 384}


def suggest(space: SearchSpace, seed: int) -> list[TrialAdded]:
    searcher = make_searcher(space, seed)
    drawn = [(f"T{number}", searcher.suggest(f"T{number}")) for number in range(space.trials)]
    return [new_trial(space, name, parameters, seed) for name, parameters in drawn if parameters is not None]


def test_the_four_are_there() -> None:
    assert {"demo", "vit_tiny", "vit_base", "seed_experiments"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_gives_as_many_trials_as_it_says_under_its_own_name(name: str) -> None:
    space = load_space(name, {})
    assert space.name == name
    assert len(suggest(space, seed=0)) == space.trials


def test_vit_base_starts_from_the_best_found_by_hand() -> None:
    config = TrialConfig.from_dict(suggest(load_space("vit_base", {}), seed=0)[0].config)
    assert {name: getattr(config, name) for name in BEST_BY_HAND} == BEST_BY_HAND
    assert (config.student, config.batch_size) == ("vit_base_patch16_224", 32)
    assert config.floor_lr == pytest.approx(3e-5)
    assert (config.grad_clip, config.beta1, config.beta2) == (0.02, 0.9, 0.95)
    assert (config.weight_decay, config.weight_decay_end, config.masking) == (0.04, 0.4, "multiblock")


def test_vit_base_searches_around_it() -> None:
    space = load_space("vit_base", {})
    assert set(space.parameters) == {*BEST_BY_HAND, "masking"}
    assert len({suggestion.config["lr"] for suggestion in suggest(space, seed=0)}) == space.trials


@pytest.mark.parametrize("name", ["vit_tiny", "vit_base", "vit_base_compute"])
def test_searches_of_real_videos_try_all_kinds_of_block_and_begin_with_the_seeds(name: str) -> None:
    space = load_space(name, {})
    trials = suggest(space, seed=0)
    kinds = [trial.config["masking"] for trial in trials]
    assert set(kinds) == {"multiblock", "multiblock_long", "multiblock_both"}
    assert kinds[: len(space.start_from)] == ["multiblock"] * len(space.start_from)


def test_the_seed_experiments_are_the_ones_in_the_log() -> None:
    suggestions = suggest(load_space("seed_experiments", {}), seed=0)
    points = [(p.config["student"].split("_")[1], p.config["lr"], p.config["mask_ratio"]) for p in suggestions]
    assert points == [
        ("tiny", 3e-4, 0.75),
        ("base", 1.5e-4, 0.75),
        ("base", 3e-4, 0.75),
        ("base", 1.5e-4, 0.9),
        ("base", 3e-4, 0.9),
        ("base", 3e-4, 0.75),
    ]
    assert [(p.config["predictor_depth"], p.config["predictor_dim"]) for p in suggestions[:5]] == [(12, 384)] * 5
    assert suggestions[5].config["predictor_depth"] != 12
    assert suggestions[5].config["predictor_dim"] != 384


def test_the_seed_experiments_are_all_trained_to_the_end() -> None:
    space = load_space("seed_experiments", {})
    assert space.schedule.scheduler == "none"
    assert {suggestion.config["epochs"] for suggestion in suggest(space, seed=0)} == {3}


def test_the_readme_names_files_that_are_there() -> None:
    readme = FOLDER / "README.md"
    if not readme.exists():
        pytest.skip("search_spaces/README.md is not written yet")
    named = set(re.findall(r"\b(\w+)\.yaml", readme.read_text(encoding="utf-8")))
    assert set(NAMES) <= named
