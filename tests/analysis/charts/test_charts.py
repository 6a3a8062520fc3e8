"""Charts are valid Vega-Lite, show what matters, and say what they leave out."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from analysis import Run, charts, load
from analysis.charts.base import spread
from analysis.palette import PART_COLOURS
from tests.analysis.fake_run import POINTS, summary, write_final, write_losses, write_run
from tests.analysis.made_search import spread as spread_parameters
from tests.analysis.made_search import write_search

CHARTS = {
    name: getattr(charts, name)
    for name in ("against_winner", "best_so_far", "classes", "confusion", "horizon", "importance", "learning_curves",
                 "loss_against_probe", "parallel_coordinates", "pareto", "probes", "ranking", "slices", "timeline")
}  # fmt: skip
NAMES = ["$\\frac$", "a.b[0]", "größe \U0001f600", "x" * 300, "<b>", "datum['x']"]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with complete, pruned, failed and diverged trials and replicates."""
    return load(write_run(tmp_path_factory.mktemp("fake")).path)


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search of 40 trials without pruning."""
    folder = tmp_path_factory.mktemp("forty")
    return load(write_search(folder, spread_parameters(40), lambda values: values["mask_ratio"]).path)


def specs(drawn: Any) -> list[dict[str, Any]]:
    """The specifications of what a chart function returned, checked against Vega-Lite's schema."""
    drawn = drawn if isinstance(drawn, list) else [drawn]
    return [chart.to_dict() for chart in drawn if chart is not None]


def title(drawn: Any) -> str:
    """What stands above a chart."""
    return " ".join(specs(drawn)[0]["title"]["text"])


def layer(spec: dict[str, Any], mark: str) -> dict[str, Any]:
    """The first layer of that mark."""
    found: dict[str, Any] = next(each for each in spec["layer"] if each["mark"]["type"] == mark)
    return found


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_valid_and_says_what_it_shows(forty: Run, fake: Run, name: str) -> None:
    drawn = [spec for run in (forty, fake) for spec in specs(CHARTS[name](run))]
    assert all(spec["width"] == "container" and len(spec["description"]) > 10 for spec in drawn)
    assert drawn or name in ("confusion", "classes")
    of_trials = [spec for spec in drawn if any(each["name"] == "shown" for each in spec.get("params", []))]
    assert bool(of_trials) is (name not in ("best_so_far", "classes", "confusion", "importance", "probes"))


@pytest.mark.parametrize("name", CHARTS)
def test_a_run_without_a_trial_draws_nothing(tmp_path: Path, name: str) -> None:
    nothing: dict[str, Any] = {"trials": [], "best": None, "recommended": None, "tied": [], "rung_correlations": []}
    run = write_run(tmp_path, promoted=False, finalists=[], resource_trained=0, **nothing)
    run.reports.write_text("")
    assert specs(CHARTS[name](load(run.path))) == []


def test_curves_are_scaled_by_the_finished_and_say_what_lies_beyond(fake: Run) -> None:
    (spec,) = specs(charts.learning_curves(fake))
    low, high = layer(spec, "line")["encoding"]["y"]["scale"]["domain"]
    finished = fake.reports[fake.reports["status"].eq("running") & fake.reports["trial"].isin(["T0", "T2", "T4"])]
    late = finished[finished["resource"] > 0.25]["val_loss"]
    assert low < late.min() and late.max() < high < 3.0
    said = title(charts.learning_curves(fake))
    assert "5 of 12 trainings went to the end; thick: T2; dashed: other seeds" in said
    assert "reports lie beyond the scale" in said


def test_curves_are_named_where_they_end_and_names_do_not_collide(forty: Run) -> None:
    (spec,) = specs(charts.learning_curves(forty))
    names = next(each for each in spec["layer"] if each["encoding"].get("text", {}).get("field") == "trial")
    rows = sorted(spec["datasets"][names["data"]["name"]], key=lambda row: float(row["height"]))
    low, high = names["encoding"]["y"]["scale"]["domain"]
    assert len(rows) == 8 and forty.best in {row["trial"] for row in rows}
    assert min(above["height"] - below["height"] for below, above in pairwise(rows)) >= 0.0449 * (high - low)


def test_labels_are_spread_and_keep_their_order() -> None:
    assert spread([1.0, 0.0, 0.05], gap=0.1) == [1.0, 0.0, 0.1]


def test_the_ranking_counts_configurations_not_seeds(fake: Run) -> None:
    (spec,) = specs(charts.ranking(fake))
    rows = next(rows for rows in spec["datasets"].values() if "seeds" in rows[0])
    assert not {"T12", "T13"} & {row["trial"] for row in rows}
    assert len(rows) == fake.trials["rank"].notna().sum()


def test_only_trials_that_trained_as_long_stand_against_the_winner(fake: Run) -> None:
    (spec,) = specs(charts.against_winner(fake))
    rows = next(rows for rows in spec["datasets"].values() if "behind" in rows[0])
    assert {row["trial"] for row in rows} == {"T0", "T4"}
    assert title(charts.against_winner(fake)) == "1 of 2 trials that trained as long as T2 are tied with it"


def test_slices_compare_at_one_rung_over_the_whole_range(fake: Run) -> None:
    drawn = specs(charts.slices(fake))
    assert [spec["title"]["text"] for spec in drawn] == [[name] for name in fake.parameters]
    assert drawn[0]["encoding"]["y"]["title"] == "held-out loss at 1 epochs"
    assert drawn[0]["encoding"]["x"]["scale"] == {"domain": [1e-5, 1e-2], "nice": False, "type": "log"}


def test_classes_are_those_of_the_clips(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_losses(run, "T2", 3.0, labels=["left", "right"])
    (spec,) = specs(charts.classes(load(run.path)))
    assert {row["label"] for row in next(iter(spec["datasets"].values()))} == {"left", "right"}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_any_name_are_drawn(tmp_path: Path, name: str) -> None:
    parameters = [{name: 0.1 * number} for number in range(1, 9)]
    found = {"parameters": [name], "scales": {name: "log"}, "ranges": {name: {"low": 0.1, "high": 1.0}}}
    run = load(write_search(tmp_path, parameters, lambda values: float(values[name]), **found).path)
    for draw in (charts.slices, charts.parallel_coordinates, charts.ranking, charts.importance, charts.learning_curves):
        assert specs(draw(run))


def test_a_promoted_run_is_drawn_behind_its_trial_with_what_was_predicted(fake: Run) -> None:
    (spec,) = specs(charts.final_curve(fake, "T2-10epochs"))
    rows = {name: [row for rows in spec["datasets"].values() for row in rows if row.get("part") == name]
            for name in PART_COLOURS}  # fmt: skip
    assert [row["epoch"] for row in rows["in the search"]] == [*POINTS]
    assert [row["epoch"] for row in rows["final run"]] == [3.0, *range(4, 11)]
    assert [(row["epoch"], row["low"], row["high"]) for row in rows["predicted, 95%"]] == [(10.0, 0.34, 0.38)]
    marks = [row["what"] for rows in spec["datasets"].values() for row in rows if "what" in row]
    assert marks == ["goes on", "cooldown"]
    assert title(charts.final_curve(fake, "T2-10epochs")) == "Held-out loss of T2-10epochs: 0.3500 at epoch 10 of 10"


def test_a_promoted_model_stands_beside_others_in_its_best_probe(fake: Run) -> None:
    (spec,) = specs(charts.final_probes(fake, "T2-10epochs"))
    names = [row["name"] for row in next(iter(spec["datasets"].values()))]
    assert names == ["this model", "the search's trial", "teacher's latents", "untrained", "chance"]
    assert title(charts.final_probes(fake, "T2-10epochs")) == "Attentive-probe accuracy of T2-10epochs: 55.0%"


def test_a_promotion_that_has_only_begun_draws_what_there_is(tmp_path: Path) -> None:
    run = write_run(tmp_path, promoted=False)
    final = write_final(run, finished=False, predicted=None, begun_at_epoch=0.0, trunk_epochs=0.0)
    final.reports.write_text("")
    (spec,) = specs(charts.final_curve(load(run.path), "T2-10epochs"))
    assert {row["part"] for rows in spec["datasets"].values() for row in rows if "part" in row} == {"in the search"}
    assert charts.final_probes(load(run.path), "T2-10epochs") is None


def test_charts_are_saved_for_print(fake: Run, tmp_path: Path) -> None:
    for ending, begin in ((".pdf", b"%PDF"), (".svg", b"<svg"), (".png", b"\x89PNG")):
        charts.save(charts.ranking(fake), tmp_path / f"ranking{ending}")
        assert (tmp_path / f"ranking{ending}").read_bytes().startswith(begin)
    with pytest.raises(ValueError, match=r"must end in \.pdf, \.svg or \.png"):
        charts.save(charts.ranking(fake), tmp_path / "ranking.doc")


def test_of_a_metric_that_is_to_be_high_the_best_is_named(tmp_path: Path) -> None:
    objective = {**summary()["objective"], "metric": "val_r2", "mode": "max", "weights": {"val_r2": 1.0}}
    run = load(write_run(tmp_path, objective=objective).path)
    (spec,) = specs(charts.learning_curves(run))
    assert json.dumps(spec).count("held-out explained variance") >= 1
