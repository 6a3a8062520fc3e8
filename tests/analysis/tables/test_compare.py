"""Runs and trials beside each other: nothing is subtracted that was judged otherwise."""

import shutil
from pathlib import Path

import pytest

from analysis import RunError, compare, load
from tests.analysis.fake_run import losses, summary, write_run


def test_trials_of_a_run_are_compared_clip_by_clip(tmp_path: Path) -> None:
    run = load(write_run(tmp_path / "a").path)
    table = compare([(run, "T2"), (run, "T0"), (run, "T1")]).set_index("trial")
    assert table["conclusion"].iloc[1:].tolist() == ["worse", "compared at an earlier rung"]
    assert table.loc["T0", "difference"] == pytest.approx(losses("T0", 3.0).mean() - 0.424, abs=1e-3)
    assert table["low"].iloc[1] > 0 and table.loc[["T0", "T1"], "at"].tolist() == [3.0, 1.0]
    assert table["seeds"].tolist() == [2, 1, 1]


def test_runs_stand_for_what_they_recommend(tmp_path: Path) -> None:
    one, other = (load(write_run(tmp_path / name).path) for name in ("a", "b"))
    table = compare([one, other])
    assert table["name"].tolist() == ["a T2", "b T2"]
    assert (table["difference"].iloc[1], table["conclusion"].iloc[1]) == (0.0, "tied")
    assert table["note"].iloc[1] == "with 6 complete trials in all"


def test_what_was_judged_otherwise_is_not_subtracted(tmp_path: Path) -> None:
    one = load(write_run(tmp_path / "a").path)
    masks = load(write_run(tmp_path / "b", baselines={"training_mean": 0.7}).path)
    store = load(write_run(tmp_path / "c", store={"path": "/x", "view_hash": "other"}).path)
    table = compare([one, masks, store])
    assert table["difference"].isna().all() and table["conclusion"].isna().all()
    assert "the baselines differ" in table["note"].iloc[1]
    assert table["note"].iloc[2] == "another store: view_hash is 'other' and 'abc'"


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    run = load(write_run(tmp_path / "a").path)
    with pytest.raises(RunError, match="1 runs or trials are given, and must be at least two"):
        compare([run])
    with pytest.raises(RunError, match="trial 'T99': must be one of T0, "):
        compare([run, (run, "T99")])
    lost = [trial | {"rank": None, "score": None} for trial in summary()["trials"]]
    empty = load(write_run(tmp_path / "b", best=None, recommended=None, trials=lost).path)
    with pytest.raises(RunError, match="no trial has a score"):
        compare([run, empty])


def test_where_losses_of_clips_are_missing_or_of_others_a_note_says_so(tmp_path: Path) -> None:
    one, two, three = (write_run(tmp_path / name) for name in "abc")
    shutil.rmtree(two.clip_losses("T0", 3.0).parent)
    others = losses("T0", 3.0).rename(lambda clip: f"other-{clip}").rename_axis("clip")
    others.rename("loss").reset_index().to_parquet(three.clip_losses("T0", 3.0))
    first = load(one.path)
    table = compare([(first, "T0"), (load(two.path), "T0"), (load(three.path), "T0")])
    assert table["note"].iloc[1:].tolist() == [
        "no losses of clips at a point that both reached",
        "judged on other clips",
    ]
    assert table["difference"].isna().all()


def test_a_replicate_without_losses_of_clips_is_left_out_of_the_means(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    run.clip_losses("T12", 3.0).unlink()
    found = compare([(load(run.path), "T2"), (load(run.path), "T0")])["difference"].iloc[1]
    assert found == pytest.approx((losses("T0", 3.0) - losses("T2", 3.0)).mean(), abs=1e-6)
