"""What a summary says in words of the winner beside its rivals, and over its seeds."""

from collections.abc import Iterator
from typing import Any

from analysis.statistics.comparison import Conclusion
from salt_tune.ui.format import amount, counted

RIVALS = 3  # that are named: those that came closest
DECIMALS = 4  # of losses
MOST_DECIMALS = 8

Summary = dict[str, Any]


def rival_lines(summary: Summary) -> Iterator[str]:
    """Compares the winner with those that came closest; the losses of clips are always val_loss."""
    compared = [trial for trial in summary["trials"] if trial["against_winner"]]
    compared.sort(key=lambda trial: (-trial["against_winner"]["rung"], trial["against_winner"]["difference"]))
    measure = "" if summary["objective"]["metric"] == "val_loss" else "in val_loss, "
    said: set[str] = set()
    for trial in compared[:RIVALS]:
        found = trial["against_winner"]
        words = _comparison(trial["id"], found, "on every clip", amount(found["rung"], summary["resource"]))
        note = _note(found, summary) if "[" in words else ""
        yield f"{measure}{words}{'' if note in said else note}"
        said.add(note)


def _note(found: dict[str, Any], summary: Summary) -> str:
    """Says what an interval counts."""
    if found["conclusion"] == Conclusion.EARLIER:
        return " (95%, clip by clip)"
    picked = sum(trial["state"] == "complete" and trial["rank"] is not None for trial in summary["trials"])
    counts = [name for name in ("clip", "seed") if found[f"{name}_error"] is not None]
    missing = [name for name in ("clip", "seed") if found[f"{name}_error"] is None]
    without = f"; {missing[0]}s are not counted" if missing else ""
    return f" (95% over {' and '.join(f'{name}s' for name in counts)}, as the best of {picked}{without})"


def seed_lines(summary: Summary) -> Iterator[str]:
    """Says what the winner and the other finalists come to over their seeds."""
    best, *others = summary["finalists"] or [None]
    if best is None or best["mean"] is None:
        return
    metric, mean, low, high = summary["objective"]["metric"], best["mean"], best["low"], best["high"]
    if summary["objective"]["mode"] == "max":
        mean, low, high = -mean, None if high is None else -high, None if low is None else -low
    interval = "" if low is None else f" [{low:.4f}, {high:.4f}] (95%)"
    yield f"over {counted(best['seeds'], 'seed')}: {metric} {mean:.4f}{interval}"
    for other in others[:RIVALS]:
        if other["mean"] is None:
            yield f"{other['id']} lost one of its {other['seeds']} seeds, and stands below"
        elif other["behind"] is not None and metric != "val_loss":  # of val_loss, `rival_lines` says it
            rival = f"{other['id']} ({counted(other['seeds'], 'seed')})"
            words = _comparison(rival, other["behind"], "with every seed", "")
            yield f"over seeds, {words}{_note(other['behind'], summary) if '[' in words else ''}"


def _comparison(rival: str, found: dict[str, Any], everywhere: str, point: str) -> str:
    """Compares the winner with a rival.

    Args:
        rival: its name.
        found: the rival less the winner: `difference`, `low`, `high`, `conclusion`.
        everywhere: where they are equal if there is no difference at all: "on every clip".
        point: where an earlier comparison was made: "1 epoch".
    """
    difference, low, high, conclusion = (found[name] for name in ("difference", "low", "high", "conclusion"))
    early = f" after {point}" if conclusion == Conclusion.EARLIER else ""
    if difference == low == high == 0:
        return f"equal to {rival} {everywhere}{early}"
    if not any(round(value, DECIMALS) for value in (difference, low, high)):
        return f"equal to {rival} to {DECIMALS} decimals{early}"
    near = min(abs(low), abs(high))
    if low <= 0 <= high or not round(near, MOST_DECIMALS):
        interval = f"{_digits(difference)} [{_digits(low)}, {_digits(high)}] behind"
        return f"{rival} was {interval}{early}" if early else f"cannot be told from {rival}, which is {interval}"
    # An end that is not zero must not look like it.
    decimals = next(count for count in range(DECIMALS, MOST_DECIMALS + 1) if round(near, count))
    ends = sorted((abs(low), abs(high)))
    shown = f"{_digits(abs(difference), decimals)} [{', '.join(_digits(end, decimals) for end in ends)}]"
    match Conclusion(conclusion):
        case Conclusion.EARLIER:
            return f"{rival} was {shown} {'behind' if low > 0 else 'ahead'}{early}"
        case Conclusion.BEHIND:
            return f"ahead of {rival} on these clips by {shown}"
        case Conclusion.AHEAD:
            return f"behind {rival} on these clips by {shown}"
        case _:
            return f"better than {rival} by {shown}" if low > 0 else f"not as good as {rival}, by {shown}"


def _digits(value: float, decimals: int = DECIMALS) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no "-0.0000"
