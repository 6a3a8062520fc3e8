"""`python -m salt_tune.compare`: runs or trials beside each other, paired by clip where that can be done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from analysis.errors import RunError
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.listing import JSON, load_run, print_json, print_rows, rows_of

COLUMNS = {"name": None, "state": 40.0, "seeds": 30.0, "epochs": 60.0, "val_loss": 90.0, "probe_top1": 70.0,
           "effective_rank": 20.0, "verdict": 25.0, "difference": 95.0, "95%": 85.0, "conclusion": None,
           "note": 50.0}  # fmt: skip


@click.command(cls=Command, example="python -m salt_tune.compare runs/first runs/second:T3")
@click.argument("subjects", metavar="RUN[:TRIAL]...", nargs=-1, required=True)
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(subjects: tuple[str, ...], *, as_json: bool) -> int:
    """Compare runs by their recommended trials, or trials of any runs, with the first one.

    Losses are paired by clip, where both were judged on the same clips and masks. Intervals are of 95% and hold
    together; they count seeds where these are known.
    """
    import analysis

    runs: dict[Path, analysis.Run] = {}

    def find(subject: str) -> "analysis.Run | tuple[analysis.Run, str]":
        path, colon, trial = subject.rpartition(":")
        if not colon or Path(subject).is_dir():
            path, trial = subject, ""
        where = Path(path).absolute()
        if where not in runs:
            runs[where] = load_run(where)
        run = runs[where]
        return (run, trial) if trial else run

    if len(subjects) < 2:
        raise RunError(f"{subjects[0]}: at least two runs or trials are needed, such as RUN:T3 RUN:T7")
    rows = rows_of(analysis.compare([find(subject) for subject in subjects]))
    if as_json:
        print_json(rows)
        return 0
    print_rows([{**row, "95%": _interval(row)} for row in rows], COLUMNS)
    console.draw(f"difference: val_loss less that of {rows[0]['name']}, with 95% intervals that hold together")
    return 0


def _interval(row: Mapping[str, Any]) -> str | None:
    return None if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"


if __name__ == "__main__":
    main()
