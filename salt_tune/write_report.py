"""`salt-tune report`: one HTML page of one or several runs, which opens without a network."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analysis.run_directory.paths import RunDirectory
from salt_tune.options import Folder
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size
from trainable.errors import UserError

if TYPE_CHECKING:
    from salt_tune.report.page.page import Sources


@click.command(
    cls=Command, example="salt-tune report runs/first\nsalt-tune report runs/first runs/second --out both.html"
)
@click.argument("paths", metavar="RUN...", nargs=-1, required=True, type=Folder())
@click.option(
    "--out", cls=Flag, type=Folder(), metavar="FILE", help="File of the page [default: report.html in the first RUN]."
)
@click.option("--follow", cls=Flag, is_flag=True, help="Serve the page on 127.0.0.1, always as the runs are by now.")
@click.option(
    "--port", cls=Flag, type=click.IntRange(0, 65535), default=0, show_default="a free one", help="Port of --follow."
)
def main(paths: tuple[Path, ...], *, out: Path | None, follow: bool, port: int) -> int:
    """Write one page that answers what a search found: what won, how sure, what mattered, what to try next.

    A RUN may have ended, still run, or have died. Of several, the page sets the recommended trials beside each other.
    The page is one file, which loads nothing from elsewhere.
    """
    from analysis.tables.runs import load
    from salt_tune.report.page.page import write_page

    if follow:
        return _follow(paths, out, port)
    if port:
        raise UserError("--port: is of --follow, which is not given")
    file = out if out is not None else RunDirectory(paths[0]).report
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = load(paths)
    if not file.parent.is_dir():
        raise UserError(f"--out {file}: there is no folder {file.parent}; make it, or give another --out")
    if file.is_dir():
        raise UserError(f"--out {file}: is a folder, and must be a file")
    try:
        size = write_page(runs, file, sources())
    except PermissionError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror}); give another --out") from error
    for each in told:
        console.warn(str(each.message))
    console.print(f"{file}: {byte_size(size)}")
    return 0


def sources() -> "Sources":
    """Returns what a page asks of its runs' data and promoted runs."""
    from salt_tune.report.page.page import Sources
    from salt_tune.runs.facts import final_facts
    from salt_tune.stores.data_on_page import describe_data

    return Sources(describe_data, final_facts)


def _follow(paths: tuple[Path, ...], out: Path | None, port: int) -> int:
    """Serves the page until Ctrl-C."""
    from salt_tune.report.page.follow import serve

    if out is not None:
        raise UserError("--out: cannot be given with --follow, which writes no file")
    with serve([RunDirectory(path) for path in paths], port, sources()) as (address, wait):
        console.print(f"{address}  (Ctrl-C ends it)")
        wait()
    return 0


if __name__ == "__main__":
    main()
