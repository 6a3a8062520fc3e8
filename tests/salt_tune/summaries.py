"""Summaries of trials that never ran, and what the console says of them."""

from collections.abc import Sequence
from typing import Any

import pytest

import analysis
from analysis.run_directory.events import Request, RoundStarted
from analysis.run_directory.paths import RunDirectory, read_summary
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.report.leaderboard import print_summary
from salt_tune.report.summary import write_summary
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.made_trials import BASELINES, make_report, make_trial, trained

FIRST_LOSSES = (0.60, 0.55, 0.70, 0.58, 0.65)


def summarize(
    run: RunDirectory,
    space: SearchSpace,
    searched: list[Trial],
    rounds: Sequence[RoundStarted] = (),
    requests: Sequence[Request] = (0,),
) -> dict[str, Any]:
    """Writes the summary, and returns what `read_summary` and the analysis both accept."""
    run.reports.touch()
    written = write_summary(
        run,
        space,
        searched,
        store={"path": "/stores/s"},
        baselines=BASELINES,
        seed=0,
        wall_seconds=50.0,
        over=True,
        rounds=rounds,
        requests=requests,
    )
    assert read_summary(run) == written
    assert analysis.load(run.path).best == written["best"]
    return written


def search(run: RunDirectory, space: SearchSpace) -> list[Trial]:
    """Six trials: T1 wins by far, T3 is close at the end, T5 diverges; the others stop at the first rung."""
    ends = {1: {0.5: 0.55, 1.0: 0.5, 3.0: 0.42}, 3: {0.5: 0.58, 1.0: 0.52, 3.0: 0.45}, 4: {0.5: 0.65, 1.0: 0.6}}
    searched = [
        trained(
            run,
            space,
            f"T{number}",
            ends.get(number, {0.5: loss}),
            TrialState.COMPLETE if number in (1, 3) else TrialState.PAUSED,
        )
        for number, loss in enumerate(FIRST_LOSSES)
    ]
    lost = make_trial("T5", make_report(0.5, None, status="diverged"), space=space, state=TrialState.DIVERGED)
    return [*searched, lost]


def by_id(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trial["id"]: trial for trial in summary["trials"]}


def printed(run: RunDirectory, summary: dict[str, Any], capsys: pytest.CaptureFixture[str], **how: Any) -> list[str]:
    capsys.readouterr()
    print_summary(run, summary, **how)
    return [text.strip() for text in capsys.readouterr().out.splitlines()]


def starting(lines: list[str], start: str) -> str:
    (line,) = [line for line in lines if line.startswith(start)]
    return line


def many(run: RunDirectory, space: SearchSpace, losses: Sequence[float], **of_first: Any) -> list[Trial]:
    """Trials that trained to the end: T1 is like T2, T3 like T4, and so on; T0 is like none."""
    made = []
    for number, loss in enumerate(losses):
        parameters = {"lr": 10 ** -(1 + number / 9), "pair": str((number + 1) // 2)}
        more = of_first if number == 0 else {}
        made.append(trained(run, space, f"T{number}", {3.0: loss}, parameters=parameters, **more))
    return made


ALIKE = (0.500, 0.501, 0.502, 0.501, 0.500, 0.501, 0.502, 0.501)
