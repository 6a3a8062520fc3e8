"""`python -m salt_tune.export`: the tables of a run for other programs, and a card that cites it."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.run_directory.paths import read_manifest
from analysis.text import printable
from salt_tune.options import Folder
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import amount, exact
from salt_tune.ui.listing import JSON, load_run, print_json
from trainable.errors import UserError
from trainable.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd

    from analysis import Run

TABLES = ("trials", "reports", "decisions", "final")
READ = ("clip_losses", "time_slot_losses", "steps", "final_steps")  # from files of single trials


@click.command(cls=Command, example="python -m salt_tune.export runs/first --csv tables")
@click.argument("path", metavar="RUN", type=Folder())
@click.option("--csv", cls=Flag, type=Folder(), metavar="DIR", help="Write the tables as CSV files.")
@click.option("--parquet", cls=Flag, type=Folder(), metavar="DIR", help="Write the tables as Parquet files.")
@click.option("--card", cls=Flag, type=Folder(), metavar="FILE", help="Write a page of text with a BibTeX entry.")
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(path: Path, *, csv: Path | None, parquet: Path | None, card: Path | None, as_json: bool) -> int:
    """Write the tables of RUN: trials, reports, decisions, steps, losses of clips; docs/runs.md has the columns."""
    if csv is None and parquet is None and card is None:
        raise click.UsageError("one of --csv DIR, --parquet DIR and --card FILE is needed")
    run = load_run(path)
    written: list[dict[str, Any]] = []
    if csv is not None:
        written += _write_tables(run, csv, "csv", lambda table, file: table.to_csv(file, index=False))
    if parquet is not None:
        written += _write_tables(run, parquet, "parquet", lambda table, file: table.to_parquet(file, index=False))
    if card is not None:
        _write(card, lambda file: file.write_text(_card(run), encoding="utf-8"))
        written.append({"path": str(card.absolute()), "rows": None})
    if as_json:
        print_json(written)
        return 0
    for each in written:
        rows = "" if each["rows"] is None else f": {each['rows']:,} rows"
        console.print(f"{each['path']}{rows}")
    return 0


def _write_tables(
    run: "Run", folder: Path, kind: str, write: "Callable[[pd.DataFrame, Path], object]"
) -> list[dict[str, Any]]:
    tables = {name: getattr(run, name) for name in TABLES} | {name: getattr(run, name)() for name in READ}
    written = []
    for name, table in tables.items():
        file = folder / f"{name}.{kind}"
        _write(file, lambda temporary, table=table: write(table, temporary))  # type: ignore[misc]
        written.append({"path": str(file.absolute()), "rows": len(table)})
    return written


def _write(file: Path, write: Callable[[Path], object]) -> None:
    """Writes a file atomically.

    Raises:
        UserError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            write(temporary)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from error


def _card(run: "Run") -> str:
    """Returns what a run is, in words, and how it is cited."""
    manifest, summary = read_manifest(run.directory), run.summary
    name, created = printable(run.directory.path.name), str(manifest.get("created") or "")[:10]
    versions, git = manifest.get("versions") or {}, manifest.get("git")
    own = run.trials[run.trials["replicate_of"].isna()]
    complete = int((own["state"] == "complete").sum())
    best = run.trials[run.trials["trial"] == run.best]
    if len(best):
        value = best.iloc[0]["score"] if run.mode == "min" else -best.iloc[0]["score"]
        reached = amount(float(best.iloc[0]["resource"]), run.resource)
        won = f"The best is {run.best}, with {run.metric} {exact(value)} after {reached}"
    else:
        won = "No trial is complete"
    tied = f"; it is tied with {', '.join(summary['tied'][1:])}" if len(summary["tied"]) > 1 else ""
    code = f", commit {git['commit']}{' with changes' if git['dirty'] else ''}" if git else ""
    text = f"""\
        # {name}

        A hyperparameter search of the space {printable(str(summary["space"]))}: {len(own)} trials,
        {complete} of them trained to the end ({amount(run.full, run.resource)}). {won}{tied}.

        Searched: {", ".join(printable(each) for each in run.parameters) or "nothing"}. Seed {summary["seed"]}.
        Store: fingerprint {summary["store"].get("fingerprint", "not known")}.
        Made with salt_tune {versions.get("salt_tune", "of an unknown version")}{code}.

        ```bibtex
        @misc{{{re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "search"},
          title = {{Hyperparameter search {name}}},
          year = {{{created[:4]}}},
          note = {{salt_tune {versions.get("salt_tune", "")}; run of {created}}}
        }}
        ```
        """
    return textwrap.dedent(text)


if __name__ == "__main__":
    main()
