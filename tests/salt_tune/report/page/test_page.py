"""A page is one file, answers in order, and shows whatever a run holds as text."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from analysis import Run, load
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from salt_tune.report.page.page import render_page, write_page
from salt_tune.space.description import describe
from salt_tune.write_report import sources
from tests.analysis.fake_run import summary, write_final, write_run
from tests.analysis.fake_steps import write_steps
from tests.analysis.made_search import spread, write_search
from tests.salt_tune.controlled import World
from tests.salt_tune.made_trials import BASELINES, make_space
from tests.salt_tune.report.page.conftest import NASTY

SECTIONS = ["encoder", "final", "ranking", "warnings", "curves", "health", "matters", "next", "horizon", "machine",
            "cost", "failed", "data", "reproduce"]  # fmt: skip


def sections(page: str) -> list[str]:
    """The ids of the sections of the first run, in order."""
    return re.findall(r'<section id="run0-(\w+)"', page)


def test_sections_stand_in_order_below_the_verdict(forty: Run, file: Path) -> None:
    page = file.read_text()
    found = sections(page)
    assert found == [name for name in SECTIONS if name in found]
    assert {"ranking", "curves", "matters", "next", "horizon", "machine", "cost"} <= set(found)
    best = forty.best
    assert page.index(f"Promote {best}") < page.index('<section id="run0-')
    assert page.count("<tr data-trial=") == 2 * 40  # in the ranking, and at the rungs


def test_what_is_suggested_has_its_reason(forty: Run, file: Path) -> None:
    page = file.read_text()
    assert "at the lower end" in page and "parameters.mask_ratio.low=" in page


def test_names_of_any_kind_stay_text(fake: Run) -> None:
    page = render_page({NASTY: fake}, sources())
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert page.count("<script") == 4 and "\x1b" not in page
    payload = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.DOTALL)
    assert payload is not None and json.loads(payload[1])["specs"]


def test_nothing_is_loaded_from_elsewhere(forty: Run, file: Path) -> None:
    page = file.read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and "default-src 'none'" in policy[1] and "connect-src 'none'" in policy[1]
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:|#)', markup)


def test_failures_have_their_line_and_traceback(fake: Run) -> None:
    page = render_page({"fake": fake}, sources())
    failed = page[page.index('id="run0-failed"') : page.index('id="run0-data"')]
    assert "<strong>T6</strong> failed" in failed and "<strong>T3</strong> diverged" in failed
    assert "Traceback" in failed and "No traceback was kept" in failed


def test_steps_and_time_slots_are_drawn_where_the_run_keeps_them(fake: Run, file: Path) -> None:
    charts = [f"run0-{name}-0" for name in ("_training_loss_by_step", "_gradients_by_step", "_clipping_by_step")]
    page, bare = render_page({"fake": fake}, sources()), file.read_text()
    healthy = page[page.index('id="run0-health"') : page.index('id="run0-matters"')]
    assert all(f'id="{name}"' in healthy for name in charts)
    assert page.index('id="run0-encoder"') < page.index('id="run0-time_slots-0"') < page.index('id="run0-ranking"')
    assert not any(name in bare for name in (*charts, "run0-time_slots-0"))


def of_final(page: str) -> str:
    """The section on promoted runs."""
    return page[page.index('id="run0-final"') : page.index('id="run0-ranking"')]


def test_a_promoted_run_is_told_from_its_beginning_to_the_line_that_loads_it(fake: Run) -> None:
    page = render_page({"fake": fake}, sources())
    told = of_final(page)
    assert "10 epochs, from epoch 3, where the search left it; its rate falls from epoch 8 on" in told
    assert "in the search val_loss 0.421 after 3" in told
    assert "val_loss 0.3500 is within what the search predicted: 0.3600 [0.3400, 0.3800]" in told
    for row in ("this model", "the search&#39;s trial", "teacher&#39;s latents", "untrained", "chance"):
        assert f'<th scope="row">{row}</th>' in told, row
    assert "better than untrained by 0.250 [0.150, 0.350] in attentive_top1" in told
    final = fake.directory.final("T2", 10).path
    assert f"<code>{final}</code>" in told and f"trainable.load_encoder(&#39;{final}&#39;)" in told
    assert told.count('role="application"') == 2 and "promoted: T2-10epochs (finished)" in page


def test_a_promotion_without_a_model_says_how_far_it_is_and_what_ended_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", promoted=False)
    final = write_final(run, finished=False)
    told = of_final(render_page({"run": load(run.path)}, sources()))
    assert "Not finished (stopped): at epoch 6; about 16 s of training left" in told
    assert "val_loss by the curves of the search at the end: 0.3600 [0.3400, 0.3800]" in told
    assert "The model lies" not in told and told.count('role="application"') == 1
    final.error.write_text("Traceback\n  <script>\nOSError: no such disk")
    told = of_final(render_page({"run": load(run.path)}, sources()))
    assert "An error ended it: OSError: no such disk" in told and 'class="state failed"' in told
    assert "&lt;script&gt;" in told and "<script>" not in told


def test_a_damaged_promotion_costs_its_own_part_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    run.final("T2", 10).evaluation.write_text("{")
    page = render_page({"run": load(run.path)}, sources())
    assert "evaluation.json: cannot be read, and must be JSON" in page and "Promote T2" in page
    assert "final" not in sections(page) and "ranking" in sections(page)


def test_runs_stand_beside_each_other_first(tmp_path: Path) -> None:
    runs = load((write_run(tmp_path / "a").path, write_run(tmp_path / "b").path))
    page = render_page(runs, sources())
    assert page.index("The runs beside each other") < page.index('id="run0"') < page.index('id="run1"')
    assert "The recommended trial of each run" in page


@pytest.mark.parametrize("trials", [[], summary()["trials"][-2:-1]], ids=["no trial", "one trial"])
def test_a_page_of_hardly_anything_says_so(tmp_path: Path, trials: list[object]) -> None:
    nothing: dict[str, Any] = {"best": None, "recommended": None, "tied": [], "finalists": [], "seed_noise": None}
    run = write_run(
        tmp_path / "few", promoted=False, trials=trials, rung_correlations=[], resource_trained=0, **nothing
    )
    if not trials:
        run.reports.write_text("")
    page = render_page({"few": load(run.path)}, sources())
    assert "No trial finished, so there is no winner." in page
    assert ("No trial has begun." in page) is (not trials)
    assert "Too few trials can be compared" in page


def test_only_failures_are_a_page_too(tmp_path: Path) -> None:
    lost = [
        {**trial, "state": "failed", "rank": None, "score": None, "against_winner": None, "val_loss": None}
        for trial in summary()["trials"]
    ]
    nothing: dict[str, Any] = {"best": None, "recommended": None, "tied": [], "finalists": [], "seed_noise": None}
    page = render_page({"lost": load(write_run(tmp_path, trials=lost, **nothing).path)}, sources())
    assert "there is no winner" in page and page.count("<strong>T") == len(lost)


def test_a_large_search_makes_no_large_page(tmp_path: Path) -> None:
    directory = write_search(tmp_path / "run", spread(100), lambda values: values["lr"])
    write_steps(directory, [f"T{number}" for number in range(100)])
    run = load(directory.path)
    file = tmp_path / "page.html"
    assert write_page({"large": run}, file, sources()) == file.stat().st_size < 5e6


def test_a_search_that_runs_is_a_page_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no waiting for the disk
    world = World(make_space(trials=6, schedule={"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}))
    asked = {"format_version": FORMAT_VERSION, "baselines": BASELINES, "seed": 0, "store": {}, "command": ["search.py"]}
    run = RunDirectory(tmp_path)
    run.manifest.write_text(json.dumps({**asked, **describe(world.space)}))
    assert "No trial has begun." in render_page({"run": load(run.path)}, sources())
    world.run(world.controller(run.path), reports=9)
    page = render_page({"run": load(run.path)}, sources())
    assert "This search has not ended." in page and "not ended" in page
    assert {"ranking", "curves", "cost", "reproduce"} <= set(sections(page))
    assert "python -m salt_tune.search" in page
