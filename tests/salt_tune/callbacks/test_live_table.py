"""What is shown while a search runs: plain lines where it is piped, a table on a terminal."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

import salt_tune.callbacks.live_table
from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.callbacks.live_table import LiveTable
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space


class Shown:
    """A table, and the trials that it shows."""

    def __init__(self, space: SearchSpace) -> None:
        self.space, self.trials = space, Trials()
        self.table = LiveTable(RunDirectory("."), space)

    def __enter__(self) -> "Shown":
        self.table.on_search_start(self.trials)
        return self

    def __exit__(self, *error: object) -> None:
        self.table.on_search_end(self.trials, over=True)

    def add(self, name: str, **fields: Any) -> Trial:
        """A trial is known."""
        return add_trial(self.trials, name, self.space, **fields)

    def tell(self, name: str, *points: float, loss: float | None = 0.5, **changes: Any) -> None:
        """A trial trains: it starts or goes on, and reports."""
        self.trials[name].state = TrialState.RUNNING
        self.table.on_trial_start(self.trials[name])
        for point in points:
            report = make_report(point, loss, **changes)
            self.table.on_trial_result(add_report(self.trials, name, report, self.space), report)

    def pause(self, name: str) -> None:
        """A trial has paused."""
        self.trials[name].state = TrialState.PAUSED
        self.table.on_trial_pause(self.trials[name])

    def end(self, name: str, state: TrialState, error: str | None = None) -> None:
        """A trial has ended."""
        self.trials[name].state, self.trials[name].error = state, error
        self.table.on_trial_end(self.trials[name])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, without the time before each line."""
    printed = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  T", line) for line in printed)
    return [line[21:] for line in printed]


def test_piped_rungs_and_whole_epochs_are_lines_and_so_are_pauses(capsys: pytest.CaptureFixture[str]) -> None:
    with Shown(make_space()) as shown:
        shown.add("T0")
        shown.tell("T0", 0.25, 0.5)
        shown.pause("T0")
        shown.tell("T0", 0.75, 1.0, 2.0)
        shown.tell("T0", 2.5, 3.0)  # its process had died
        shown.end("T0", TrialState.COMPLETE)
    losses = "val_loss 0.5000  val_r2 0.233  210 clips/s"
    assert lines(capsys) == [
        "T0   starts    lr 0.001",
        f"T0   epoch 0.5   {losses}",
        "T0   paused at 0.5",
        "T0   goes on to 1",
        f"T0   epoch 1   {losses}",
        f"T0   epoch 2   {losses}",
        "T0   goes on to 3",
        f"T0   epoch 3   {losses}",
        "T0   complete after 3 epochs",
    ]


def test_piped_ends_have_their_reason_and_resources_their_unit(capsys: pytest.CaptureFixture[str]) -> None:
    with Shown(make_space(schedule={"tflops": 9000, "rungs": [1000], "reports": 9})) as shown:
        for name in ("T0", "T1"):
            shown.add(name, parameters={})
        shown.tell("T0", 1000)
        shown.end("T0", TrialState.FAILED, "the disk is full")
        shown.tell("T1", 1000, 2000, loss=None)
        shown.end("T1", TrialState.DIVERGED)
    assert lines(capsys) == [
        "T0   starts",
        "T0   TFLOP 1,000   val_loss 0.5000  val_r2 0.233  210 clips/s",
        "T0   failed after 1,000 TFLOP: the disk is full",
        "T1   starts",
        "T1   diverged after 2,000 TFLOP",
    ]


def test_an_error_that_names_a_clip_is_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    with Shown(make_space()) as shown:
        shown.add("T0")
        shown.end("T0", TrialState.FAILED, "clip 'a\x1b[2J\nb\u202e' differs")
    assert lines(capsys)[-1].endswith(r"clip 'a\x1b[2J\nb\u202e' differs")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], io.StringIO]:
    """Puts a terminal of so many columns and lines in the place of the console; what is drawn there."""

    def put(width: int, height: int) -> io.StringIO:
        drawn = io.StringIO()
        console = Console(file=drawn, force_terminal=True, width=width, height=height, color_system=None)
        monkeypatch.setattr(salt_tune.callbacks.live_table, "console", console)
        return drawn

    return put


Terminal = Callable[[int, int], io.StringIO]


def last_screen(drawn: io.StringIO) -> list[str]:
    """The lines of the last screen."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.getvalue().rpartition("run ")[2]).splitlines()


def test_the_screen_shows_trials_that_come_later(terminal: Terminal) -> None:
    drawn = terminal(120, 30)
    space = make_space(objective={"val_loss": 0.5, "probe_top1": 0.5}, schedule={"seconds": 60, "reports": 6})
    with Shown(space) as shown:
        shown.add("T0")
        shown.tell("T0", 10.0, probe_top1=0.3, effective_rank=4.0)
        shown.pause("T0")
        shown.add("T1", parameters={})
    text = "\n".join(last_screen(drawn))
    assert "goes on" not in text and "starts" not in text
    assert "seconds" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["T0", "paused", "10", "0.1000", "30.0%", "-", "0.001"] in rows
    assert ["T1", "waiting", "0", "-", "-", "-", "-"] in rows


@pytest.mark.parametrize(("width", "height"), [(40, 14), (80, 24), (160, 24)])
def test_running_trials_come_first_and_the_ranking_is_cut_to_the_screen(
    terminal: Terminal, width: int, height: int
) -> None:
    drawn = terminal(width, height)
    with Shown(make_space(trials=60)) as shown:
        for number in range(40):
            shown.add(f"T{number}")
            shown.tell(f"T{number}", 0.5, loss=0.9 - number / 100, verdict="better than untrained")
            shown.pause(f"T{number}")
        shown.add("T40")
        shown.tell("T40", 0.5, loss=0.95)
        shown.trials["T40"].state = TrialState.RUNNING
    screen = last_screen(drawn)
    assert len(screen) <= height and max(map(len, screen)) <= width
    trials = [line.split()[0] for line in screen if re.match(r"T\d+ ", line)]
    assert trials[:3] == ["T40", "T39", "T38"]
    assert f"{41 - len(trials)} more: " in screen[-1]
    assert any(line.startswith("best ") and "T39  val_loss 0.5100" in line for line in screen)
