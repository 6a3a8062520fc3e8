"""Differences between trials: their sign, their interval, and when there is none."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import load, paired_difference
from analysis.statistics import paired_against_best, searched
from tests.analysis.fake_run import TRIALS, losses, summary, write_run


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_the_order_of_the_clips_is_of_no_matter(values: list[float]) -> None:
    a = pd.Series(values, index=[f"clip-{number}" for number in range(len(values))])
    b = a * 0.5 + 1
    shuffled = b.sample(frac=1, random_state=len(values))
    assert paired_difference(a, shuffled) == paired_difference(a, b)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hard = random.gamma(2.0, 1.0, 200)
    hits = 0
    for _ in range(500):
        a, b = (pd.Series(hard + random.normal(shift, 0.1, 200)) for shift in (0.3, 0.1))
        found = paired_difference(a, b)
        hits += found.low <= 0.2 <= found.high
    assert 0.92 < hits / 500 < 0.98


def test_pairing_finds_what_separate_bars_cannot() -> None:
    best, other = losses("T2", 3.0), losses("T0", 3.0)
    unpaired_error = (best.var() / len(best) + other.var() / len(other)) ** 0.5
    assert abs(other.mean() - best.mean()) < 1.96 * unpaired_error
    found = paired_difference(other, best)
    assert found.distinguishable and found.low > 0
    assert found.n == len(best)


def test_equal_losses_cannot_be_told_apart() -> None:
    found = paired_difference(losses("T2", 3.0), losses("T2", 3.0))
    assert (found.mean, found.distinguishable) == (0.0, False)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ({"x": 1.0, "y": 2.0}, {"x": 1.0, "z": 2.0}, "must have the same"),
        ({"x": 1.0, "y": 2.0}, {"x": 1.0}, "losses_a has 2 clips, losses_b 1"),
        ({"x": 1.0}, {"x": 1.0}, "must have at least 2"),
        ({"x": 1.0, "y": np.nan}, {"x": 1.0, "y": 1.0}, "not finite"),
    ],
)
def test_what_cannot_be_paired_is_refused(a: dict[str, float], b: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(pd.Series(a), pd.Series(b))


def test_each_trial_meets_the_winner_at_their_deepest_common_epoch(tmp_path: Path) -> None:
    table = paired_against_best(load(write_run(tmp_path).path)).set_index("trial")
    assert set(table.index) == set(TRIALS) - {"T2", "T6"}
    assert table.loc[["T0", "T10", "T3"], "epoch"].tolist() == [3.0, 1.0, 0.25]
    assert (table["low"] <= table["difference"]).all() and (table["difference"] <= table["high"]).all()
    assert table["distinguishable"].to_dict()["T4"] is False
    assert table.drop("T4")["distinguishable"].all()


def test_without_a_file_of_clip_losses_the_epoch_before_it_serves(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    directory.clip_losses("T4", 3.0).unlink()
    table = paired_against_best(load(tmp_path)).set_index("trial")
    assert table.loc["T4", "epoch"] == 2.0


def test_without_a_winner_there_are_no_rows(tmp_path: Path) -> None:
    directory = write_run(tmp_path)
    directory.summary.write_text(json.dumps(summary(best=None)))
    run = load(tmp_path)
    assert paired_against_best(run).empty
    assert paired_against_best(run)["distinguishable"].dtype == bool
    assert searched(run)["winner"].isna().all()


def test_searched_tells_what_was_tried(tmp_path: Path) -> None:
    table = searched(load(write_run(tmp_path).path))
    assert table.to_dict("index") == {
        "lr": {"scale": "log", "tried": "3.1e-05 to 0.008", "winner": 3.3e-4},
        "mask_ratio": {"scale": "linear", "tried": "0.6 to 0.9", "winner": 0.8},
        "predictor_depth": {"scale": "linear", "tried": "2 to 6", "winner": 6},
        "predictor_dim": {"scale": "category", "tried": "96, 192, 384", "winner": 192},
    }
