"""How far a search or a promoted run is, in lines; `analysis.run_directory.progress` has the facts."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from analysis.run_directory.trials import TrialState
from salt_tune.ui.format import amount, counted, duration, exact, number, quantity

Facts = Mapping[str, Any]


def search_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """Says how far a search is.

    Args:
        facts: what `salt_tune.status` shows of it, see docs/run-directory.md.

    Yields:
        What a line is about, in a word, and the line.
    """
    yield "run", f"{facts['run']}: {_process(facts)}"
    yield "best", _best(best, facts["spent"]["resource"]) if (best := facts["best"]) else "none yet"
    yield "trials", _trials(facts["trials"], running=facts["running"])
    yield "spent", _spent(facts["spent"])
    if facts["running"]:
        yield "left", _left(facts["time_left"], facts["clips_per_second"])
    if last := facts["last_report"]:
        yield "report", f"{last['trial']}, {duration(last['age_seconds'])} ago"
    for final in facts["finals"]:
        yield "final", f"{final['name']}: {_process(final)}; {_final(final)}"
    if facts["goes_on"]:
        yield "go on", str(facts["goes_on"])


def final_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """Says how far a promoted run is; see `search_lines`."""
    yield "run", f"{facts['run']}: {_process(facts)}"
    yield "at", _final(facts)
    if last := facts["last_report"]:
        yield "report", f"{duration(last['age_seconds'])} ago"
    if facts["goes_on"]:
        yield "go on", str(facts["goes_on"])


def change_line(facts: Facts) -> str:
    """Says in a line how far a run is, where each change is a line."""
    if facts["kind"] == "final":
        return f"{facts['name']} {facts['state']}: {_final(facts)}"
    best = facts["best"]
    parts = [f"{facts['name']} {facts['state']}", _trials(facts["trials"], running=facts["running"])]
    if best:
        parts.append(f"best {_best(best, facts['spent']['resource'])}")
    if facts["running"]:
        parts.append(f"left {_left(facts['time_left'], facts['clips_per_second'])}")
    return "; ".join(parts)


def _process(facts: Facts) -> str:
    """Says whether it runs, in which process and since when."""
    holder = facts["holder"]
    if holder is None:
        return str(facts["state"])
    since = datetime.fromisoformat(holder["since"]).astimezone()
    process = f"process {holder['pid']}"
    if not facts["running"]:
        left = holder["until"] and datetime.fromisoformat(holder["until"]).astimezone()
        until = f" until {left:%Y-%m-%d %H:%M}" if left else ""
        return f"{facts['state']}; {process} ran it from {since:%Y-%m-%d %H:%M}{until}"
    where = "" if holder["alive"] else f" on host {holder['host']}, which cannot be seen from here"
    lasts = duration((datetime.now().astimezone() - since).total_seconds())
    return f"running for {lasts}, since {since:%Y-%m-%d %H:%M}, as {process}{where}"


def _trials(trials: Facts, *, running: bool) -> str:
    asked = f" of {trials['asked']}" if trials["asked"] is not None else ""
    more = f", and {counted(trials['replicates'], 'replicate')}" if trials["replicates"] else ""
    counts = {
        "running" if running else "interrupted": trials["running"] + trials["waiting"],
        "paused": trials["paused"],
        "complete": trials["complete"],
        "pruned": trials["pruned"],
        "lost": sum(trials[state] for state in TrialState if state.lost),
    }
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{trials['begun']}{asked} begun{more}{': ' if shown else ''}{shown}"


def _best(best: Facts, resource: str) -> str:
    ended = "" if best["state"] == "complete" else f" ({best['state']})"
    verdict = f"; {best['verdict']}" if best["verdict"] else ""
    value, reached = exact(best["value"]), amount(best["resource"], resource)
    return f"{best['trial']}  {best['metric']} {value} after {reached}{ended}{verdict}"


def _spent(spent: Facts) -> str:
    trained, without, unit = spent["trained"], spent["without_pruning"], spent["resource"]
    of = ""
    if spent["budget"]:
        of = f" of {quantity(spent['budget'])} ({trained / spent['budget']:.0%} of the budget)"
    elif without:
        of = f" ({trained / without:.0%} of {quantity(without)} without pruning)"
    times = f"{duration(spent['wall_seconds'])}, with {duration(spent['training_seconds'])} of training"
    return f"{amount(trained, unit)}{of}; {times}"


def _left(left: Facts | None, speed: float | None) -> str:
    """Says how long it will take, how sure that is, and how fast it trains."""
    told = "not known yet"
    if left:
        ends = [duration(left[end]) for end in ("low", "high")]
        told = f"about {duration(left['expected'])}"
        told += "" if ends[0] == ends[1] else f" ({ends[0]} to {ends[1]})"
    return f"{told}; {number(speed)} clips/s" if speed else told


def _final(final: Facts) -> str:
    """Says how far a training is, how good, how fast, and how long it will take."""
    parts = [f"epoch {final['epoch']:g} of {final['epochs']:g}"]
    if final["val_loss"] is not None:
        parts.append(f"val_loss {exact(final['val_loss'])}")
    if final["clips_per_second"] is not None:
        parts.append(f"{number(final['clips_per_second'])} clips/s")
    if final["seconds_left"]:
        parts.append(f"about {duration(final['seconds_left'])} of training left")
    if final["error"]:
        parts.append(f"ended by an error: {final['error'].splitlines()[-1]}")
    return ", ".join(parts)
