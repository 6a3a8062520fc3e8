"""The journal as events, and what follows from each for the trials."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import RunError
from analysis.run_directory.events import (
    Event,
    JobStarted,
    ReplicatesAsked,
    ResultReported,
    RoundStarted,
    SessionEnded,
    TrialAdded,
    TrialEnded,
    TrialLeft,
    TrialPruned,
    Trials,
    TrialsAllowed,
)
from analysis.run_directory.journal import encode, read_events, read_trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState

ADDED = TrialAdded("T0", {"lr": 0.1}, {"lr": 0.1, "batch_size": 8}, 3)
REPORT = {"trial": "T0", "resource": 1.0, "status": "running", "val_loss": 0.5}

names = st.integers(0, 99).map("T{}".format)
points = st.floats(0, 100)
predicted = [st.none() | points] * 3
events = (
    st.builds(
        TrialAdded,
        names,
        st.dictionaries(st.text(), points),
        st.dictionaries(st.text(), points),
        st.integers(0, 9),
        st.none() | st.text(),
        st.none() | names,
    )
    | st.builds(JobStarted, names, points, points, st.text(), *predicted)
    | st.builds(
        ResultReported,
        names,
        points,
        st.sampled_from(["running", "complete"]),
        points | st.just(math.inf),
        st.booleans(),
    )
    | st.builds(TrialEnded, names, st.sampled_from([TrialState.FAILED, TrialState.PRUNED]), st.none() | st.text())
    | st.builds(TrialPruned, names, *predicted)
    | st.builds(TrialLeft, names, *predicted)
    | st.builds(TrialsAllowed, st.integers(0, 99), st.booleans())
    | st.builds(ReplicatesAsked, st.integers(0, 9) | st.just("auto"))
    | st.builds(RoundStarted, st.integers(0, 9), st.dictionaries(names, st.integers(1, 9)), st.text())
    | st.builds(SessionEnded, points)
)


def write(folder: Path, *told: Event, reports: tuple[dict[str, object], ...] = ()) -> RunDirectory:
    run = RunDirectory(folder)
    run.decisions.write_text("".join(json.dumps(encode(event), allow_nan=False) + "\n" for event in told))
    run.reports.write_text("".join(json.dumps(report) + "\n" for report in reports))
    return run


def applied(*told: Event) -> Trials:
    trials = Trials()
    for event in told:
        trials.apply(event)
    return trials


@given(st.lists(events, max_size=8))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, told: list[Event]) -> None:
    assert list(read_events(write(tmp_path_factory.mktemp("run"), *told), live=True)) == told


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ([], "waiting"),
        ([JobStarted("T0", 0, 1.0, "new")], "running"),
        ([JobStarted("T0", 0, 1.0, "new"), ResultReported("T0", 0.5, "running", 0.5)], "running"),
        ([JobStarted("T0", 0, 1.0, "new"), ResultReported("T0", 1.0, "running", 0.5)], "paused"),
        ([JobStarted("T0", 0, 1.0, "new"), ResultReported("T0", 0.5, "diverged", math.inf)], "diverged"),
        (
            [JobStarted("T0", 0, 1.0, "new"), ResultReported("T0", 0.0, "out_of_memory", math.inf, retry=True)],
            "running",
        ),
        ([JobStarted("T0", 0, 1.0, "new"), ResultReported("T0", 0.0, "out_of_memory", math.inf)], "out_of_memory"),
        ([JobStarted("T0", 0, 3.0, "new"), ResultReported("T0", 3.0, "complete", 0.5)], "complete"),
        ([JobStarted("T0", 0, 3.0, "new"), TrialEnded("T0", TrialState.FAILED, "gone")], "failed"),
        ([JobStarted("T0", 0, 1.0, "new"), ResultReported("T0", 1.0, "running", 0.5), TrialPruned("T0")], "pruned"),
    ],
)
def test_states_follow_from_events(told: list[Event], state: str) -> None:
    assert applied(ADDED, *told)["T0"].state == state


def test_a_running_report_without_a_score_leaves_its_trial_running() -> None:
    trial = applied(ADDED, JobStarted("T0", 0, 3.0, "new"), ResultReported("T0", 1.0, "running", math.inf))["T0"]
    assert (trial.state, trial.score, trial.resource) == (TrialState.RUNNING, math.inf, 1.0)


def test_a_trial_that_fails_keeps_its_scores_and_says_why() -> None:
    told: list[Event] = [JobStarted("T0", 0, 3.0, "new"), ResultReported("T0", 1.0, "running", 0.5)]
    trial = applied(ADDED, *told, TrialEnded("T0", TrialState.FAILED, "gone"))["T0"]
    assert (trial.state, trial.score, trial.error) == (TrialState.FAILED, 0.5, "gone")


def test_reports_are_merged_and_memory_errors_counted() -> None:
    told: list[Event] = [
        ResultReported("T0", 1.0, "running", 0.5, report={"val_loss": 0.5, "probe_top1": 0.25}),
        ResultReported("T0", 1.5, "running", 0.4, report={"val_loss": 0.4}),
        ResultReported("T0", 1.5, "out_of_memory", math.inf, retry=True, report={"val_loss": None}),
    ]
    trial = applied(ADDED, *told)["T0"]
    assert trial.metrics == {"val_loss": None, "probe_top1": 0.25}
    assert (trial.scores, trial.memory_errors) == ({1.0: 0.5, 1.5: 0.4}, 1)


def test_trials_allowed_and_seconds_add_up() -> None:
    trials = Trials(5)
    for event in (TrialsAllowed(3, total=False), SessionEnded(2.0), TrialsAllowed(6, total=True), SessionEnded(0.5)):
        assert trials.apply(event) is None
    assert (trials.allowed, trials.seconds) == (6, 2.5)
    assert applied(TrialsAllowed(3, total=False)).allowed is None


def test_a_report_is_joined_by_its_status_too(tmp_path: Path) -> None:
    lost = {**REPORT, "status": "out_of_memory", "val_loss": None}
    told: list[Event] = [
        ADDED,
        ResultReported("T0", 1.0, "running", 0.5),
        ResultReported("T0", 1.0, "out_of_memory", math.inf),
    ]
    run = write(tmp_path, *told, reports=(REPORT, lost))
    found = [event.report for event in read_events(run) if isinstance(event, ResultReported)]
    assert found == [REPORT, lost]


def test_a_report_that_is_missing_is_named_unless_the_run_is_live(tmp_path: Path) -> None:
    run = write(tmp_path, ADDED, ResultReported("T0", 1.0, "running", 0.5))
    with pytest.raises(RunError, match=r"reports\.jsonl: lacks the report of T0 at 1, which decisions\.jsonl names"):
        list(read_events(run))
    assert read_trials(run, live=True)["T0"].scores == {1.0: 0.5}


def test_a_last_line_that_was_cut_off_is_left_alone_in_a_live_run_and_taken_away_else(tmp_path: Path) -> None:
    run = write(tmp_path, ADDED)
    whole = run.decisions.read_bytes()
    run.decisions.write_bytes(whole + b'{"event": "dr')
    assert list(read_events(run, live=True)) == [ADDED]
    assert run.decisions.read_bytes() != whole
    assert list(read_events(run)) == [ADDED]
    assert run.decisions.read_bytes() == whole


def test_a_last_report_whose_decision_was_lost_is_left_alone_in_a_live_run_and_taken_away_else(tmp_path: Path) -> None:
    run = write(tmp_path, ADDED, ResultReported("T0", 1.0, "running", 0.5), reports=(REPORT,))
    whole = run.reports.read_bytes()
    run.reports.write_bytes(whole + json.dumps({**REPORT, "resource": 2.0}).encode() + b"\n")
    orphaned, decisions = run.reports.read_bytes(), run.decisions.read_bytes()
    events = list(read_events(run, live=True))
    assert run.reports.read_bytes() == orphaned
    assert list(read_events(run)) == events
    assert (run.reports.read_bytes(), run.decisions.read_bytes()) == (whole, decisions)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"event": "born"}', "ValueError: event = 'born' is unknown"),
        ('{"event": "end", "trial": "T0", "state": "finished", "error": null}', "'finished' is not a valid TrialState"),
        (
            '{"event": "run", "trial": "T0", "start": 0, "milestone": "far", "reason": ""}',
            "milestone = 'far' is no number",
        ),
        ('{"event": "end", "trial": "T9", "state": "failed", "error": null}', "KeyError: 'T9'"),
        ("[]", "KeyError: 'event'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    run = write(tmp_path, ADDED)
    run.decisions.write_text(run.decisions.read_text() + line + "\n")
    with pytest.raises(RunError) as caught:
        read_trials(run, live=True)
    assert str(caught.value).startswith(f"{run.decisions}: line 2 is damaged: ") and why in str(caught.value)


def test_the_folder_needs_the_standard_library_only() -> None:
    code = (
        "import sys; known = set(sys.modules); import analysis.run_directory.so_far, analysis.run_directory.reports\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - known}\n"
        "print(sorted(name for name in new if name not in sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['analysis']\n"
