"""`python -m salt_tune.status`: how far a search or a promoted run is, from its files alone."""

import json
from pathlib import Path

import click

from salt_tune.options import Folder
from salt_tune.runs.facts import facts_at
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.search_screen import RunScreen


@click.command(cls=Command, example="python -m salt_tune.status runs/first")
@click.argument("path", metavar="RUN", type=Folder())
@click.option("--json", "as_json", cls=Flag, is_flag=True, help="Print one JSON object; docs/run-directory.md has it.")
def main(path: Path, *, as_json: bool) -> int:
    """Show whether RUN is running, how far it is, and its ranking so far.

    RUN is the folder of a search, or of a final run such as runs/first/final/T3-20epochs. It is read, and nothing else:
    another process may run it.
    """
    facts = facts_at(path)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        console.draw(RunScreen(lambda: facts, None if console.is_terminal else len(facts.get("ranking", ()))))
    return 0


if __name__ == "__main__":
    main()
