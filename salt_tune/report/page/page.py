"""Writes the page of one or several runs."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2

from analysis import charts
from analysis.errors import RunError
from analysis.tables.compare import compare
from analysis.tables.run import Run
from analysis.text import printable
from salt_tune.report.page import facts
from salt_tune.report.page.facts import Table
from salt_tune.report.page.figures import Figure, Figures, Size, as_json, script
from salt_tune.report.page.final import Facts, FinalRun, final_runs
from salt_tune.report.page.provenance import failures, origin
from salt_tune.ui.format import counted
from trainable.files import atomic_write

TEMPLATES: Final = "templates"


@dataclass(frozen=True)
class Sources:
    """What a page asks of floors that it does not know.

    Attributes:
        data: see `salt_tune.stores.data_on_page.describe_data`.
        final: see `salt_tune.runs.facts.final_facts`.
    """

    data: Callable[[Mapping[str, Any]], Any]
    final: Facts


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        id: of its element.
        title: its heading, a question where it is answered.
        lines: what it says.
        figures: charts.
        tables: below them.
        kind: which block of the template draws what is special to it; empty: none.
        content: what that block draws.
    """

    id: str
    title: str
    lines: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    kind: str = ""
    content: Any = None


@dataclass(frozen=True)
class Part:
    """A run on a page.

    Attributes:
        id: begins the ids of all its elements.
        name: of the run.
        state: a few words on where it stands.
        verdict: what to promote, first of all.
        sections: in order.
    """

    id: str
    name: str
    state: str
    verdict: Sequence[str]
    sections: Sequence[Section]


def write_page(runs: Mapping[str, Run], path: Path, sources: Sources) -> int:
    """Writes the page of some runs to one file, atomically.

    Args:
        runs: by name.
        path: the file; its folder is there.
        sources: of what is asked for.

    Returns:
        Its size in bytes.

    Raises:
        OSError: it cannot be written.
    """
    content = render_page(runs, sources).encode()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


def render_page(runs: Mapping[str, Run], sources: Sources, *, follow: bool = False) -> str:
    """Returns the page of some runs as HTML, which loads nothing from elsewhere.

    Args:
        runs: by name.
        sources: see `write_page`.
        follow: it asks its own server whether there is something new, and is loaded again then.
    """
    figures, several = Figures(), len(runs) > 1
    parts = [_part(f"run{number}", name, run, figures, sources) for number, (name, run) in enumerate(runs.items())]
    scripts = [script(), _read("charts.js"), _read("page.js")]
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=printable(" and ".join(runs)) if len(runs) < 3 else counted(len(runs), "run"),
        parts=parts,
        overview=_overview(runs) if several else None,
        problems=figures.problems,
        written=datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        style=_safe(_read("style.css")),
        payload=_safe(as_json({**figures.payload(), "follow": follow})),
        scripts=[_safe(each) for each in scripts],
        hashes=[_sha256(each) for each in scripts],
        follow=follow,
    )


def _read(name: str) -> str:
    return (files(__package__) / TEMPLATES / name).read_text(encoding="utf-8")


def _safe(text: str) -> Any:
    """Marks text of this package as markup: nothing of a run is in it, or `as_json` has made it harmless."""
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _part(identity: str, name: str, run: Run, figures: Figures, sources: Sources) -> Part:
    def add(chart: Callable[[Run], Any], size: Size = "wide") -> list[Figure]:
        return figures.add(f"{identity}-{chart.__name__}", lambda: chart(run), size)

    trials = counted(int(run.trials["replicate_of"].isna().sum()), "trial")
    empty = [] if len(run.trials) else ["No trial has begun."]
    failed, finals = failures(run), final_runs(identity, run, figures, sources.final)
    good = [*add(charts.probes), *add(charts.loss_against_probe)]
    fails = [*add(charts.classes, "half"), *add(charts.time_slots, "half"), *add(charts.confusion, "half")]
    matters = [*add(charts.importance), *add(charts.slices, "small"), *add(charts.parallel_coordinates)]
    standing = [*add(charts.ranking), *add(charts.against_winner)]
    spent = [*add(charts.best_so_far, "half"), *add(charts.pareto, "half")]
    # What all trials report stands beside what each step of the best ones came to.
    losses = [*add(_training_loss, "half"), *add(_training_loss_by_step, "half")]
    gradients = [*add(_gradients, "half"), *add(_gradients_by_step, "half"), *add(_clipping_by_step, "half")]
    said, ranked, orders = facts.losses(run), [facts.ranked(run)], [facts.stability(run), facts.at_rungs(run)]
    sections = [
        Section("encoder", "Is it a good encoder?", facts.encoder(run), [*good, *fails]),
        *([Section("final", "Final run", kind="finals", content=finals)] if finals else []),
        Section("ranking", "Ranking", [*empty, *said], standing, ranked, "ranking"),
        Section("warnings", "Watch out", facts.warnings(run)),
        Section("curves", "Learning curves", [], add(charts.learning_curves)),
        Section("health", "Was training healthy?", facts.health(run), [*losses, *gradients]),
        Section("matters", "What matters?", facts.caveat(run), matters),
        Section("next", "What to try next", [], [], [facts.suggestions(run)], "commands", facts.next_steps(run)),
        Section("horizon", "Do early rungs tell?", [], add(charts.horizon), orders),
        Section("machine", "What did the machine do when?", [], add(charts.timeline)),
        Section("cost", "What did it cost?", facts.cost_in_words(run), spent, [facts.spent(run)]),
        Section("failed", "What failed, and why?", [] if failed else ["Nothing failed."], [], [], "failures", failed),
        Section("data", "Data", [], [], [], "data", sources.data(run.summary["store"])),
        Section("reproduce", "How to reproduce it", [], [], [], "origin", origin(run)),
    ]
    sections = [section for section in sections if _says_something(section)]
    state = f"{trials}, {'ended' if run.over else 'not ended'}{_promoted(finals)}"
    return Part(identity, printable(name), state, facts.verdict(run), sections)


def _promoted(finals: Sequence[FinalRun]) -> str:
    return f"; promoted: {', '.join(f'{final.name} ({final.state})' for final in finals)}" if finals else ""


def _gradients(run: Run) -> Any:
    return charts.learning_curves(run, "grad_norm")


def _training_loss(run: Run) -> Any:
    return charts.learning_curves(run, "train_loss")


def _training_loss_by_step(run: Run) -> Any:
    return charts.training_steps(run, "train_loss")


def _gradients_by_step(run: Run) -> Any:
    return charts.training_steps(run, "grad_norm")


def _clipping_by_step(run: Run) -> Any:
    return charts.training_steps(run, "clipped_share")


def _says_something(section: Section) -> bool:
    return bool(section.lines or section.figures or section.kind or any(table.rows for table in section.tables))


def _overview(runs: Mapping[str, Run]) -> Table | str:
    """Tabulates the runs beside the first; where one has no trial to compare, says so."""
    try:
        table = compare([*runs.values()])
    except RunError as error:
        return printable(str(error))
    columns = ["run", "trial", "epochs ", "val_loss ", "probe ", "less the first, 95% ", "conclusion", "note"]
    rows = [
        [
            printable(str(row["run"])), row["trial"], f"{row['epochs']:g}", f"{row['val_loss']:.4f}",
            "-" if row["probe_top1"] != row["probe_top1"] else f"{row['probe_top1']:.1%}",
            "-" if row["difference"] != row["difference"]
            else f"{row['difference']:+.4f} [{row['low']:.4f}, {row['high']:.4f}]",
            *("" if row[name] != row[name] else str(row[name]) for name in ("conclusion", "note")),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return Table("The recommended trial of each run, beside that of the first", columns, rows)
