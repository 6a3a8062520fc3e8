"""The pictures of docs/transfer.md."""

from matplotlib.figure import Figure

from analysis.palette import STATE_COLOURS
from analysis.plots.style import GUIDE, INK, MUTED, figure, named_rows, style
from benchmarks.replay.figures import interval
from benchmarks.transfer.plan import Plan
from benchmarks.transfer.results import REFERENCE, Finding, Findings
from benchmarks.transfer.signals import AVERAGED, CONSTANT, COSINE, LOSS, RELATIVE, Measurements

COLOURS = {COSINE: STATE_COLOURS["diverged"], CONSTANT: MUTED, AVERAGED: STATE_COLOURS["complete"]}
ROWS = 24  # signals that are drawn
STATES = ("complete", "diverged", "running", "interrupted", "out_of_memory", "pruned")
LINES = (INK, *(STATE_COLOURS[state] for state in STATES))  # seven kinds of signal


def ranking(findings: list[Findings], epoch: float) -> Figure:
    """Draws tau of the signals at one point with its 95% interval, a column for each truth."""
    rows = _best(findings, epoch)
    whole = figure(3.2 + 3.2 * len(findings), 1.2 + 0.24 * len(rows))
    columns = whole.subplots(1, len(findings), sharey=True, squeeze=False)[0]
    for ax, one in zip(columns, findings, strict=True):
        found = {finding.label: finding for finding in one.at(epoch)}
        for row, label in enumerate(rows):
            finding = found[label]
            tau, low, high = interval(finding.samples.tau)
            colour = COLOURS[finding.signal.source]
            ax.plot([low, high], [row, row], color=colour, linewidth=1.4)
            ax.plot(tau, row, "o", color=colour, markersize=5)
        ax.axvline(0, color=GUIDE, linewidth=0.8)
        style(ax, one.truth.name, f"Kendall's tau at {epoch:g} epochs", grid="x")
    named_rows(columns[0], rows)
    columns[0].set_yticks(range(len(rows)), rows)  # names longer than a trial's
    return whole


def by_epoch(findings: list[Findings], plan: Plan) -> Figure:
    """Draws tau of the most telling signals of each kind at each early point, a column for each truth."""
    labels = _one_of_each_kind(findings, plan.early[-1])
    whole = figure(2.0 + 2.8 * len(findings), 4.2)
    columns = whole.subplots(1, len(findings), sharey=True, squeeze=False)[0]
    for ax, one in zip(columns, findings, strict=True):
        for colour, label in zip(LINES, labels, strict=False):
            curve = [(f.signal.epoch, f.tau) for f in one.all if f.label == label and f.signal.epoch in plan.early]
            ax.plot(*zip(*sorted(curve), strict=True), "o-", color=colour, markersize=4, label=label)
        style(ax, one.truth.name, "epochs at which it is predicted", "Kendall's tau" if ax is columns[0] else "")
        ax.set_xticks(plan.early)
    handles, names = columns[0].get_legend_handles_labels()
    whole.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return whole


def scatter(measurements: Measurements, findings: list[Findings]) -> Figure:
    """Draws each configuration: a signal at the last early point against the truth; the cosine's loss, and the best."""
    plan, epoch = measurements.plan, measurements.plan.early[-1]
    whole = figure(10.0, 2.8 * len(findings))
    rows = whole.subplots(len(findings), 2, sharey="row", squeeze=False)
    for axes, one in zip(rows, findings, strict=True):
        there = one.at(epoch)
        reference = next(f for f in there if (f.signal.source, f.signal.name) == REFERENCE)
        for ax, finding in zip(axes, (reference, there[0]), strict=True):
            signal = finding.signal
            for values in signal.values:
                ax.plot(abs(values), abs(one.truth.values), "o", color=COLOURS[signal.source], markersize=4)
            ax.xaxis.set_inverted(bool((signal.values < 0).all()))  # of a loss: better is to the right, and above
            ax.yaxis.set_inverted(bool((one.truth.values < 0).all()))
            style(ax, f"tau {finding.tau:.2f}", f"{finding.label} at {epoch:g} epochs")
        axes[0].set_ylabel(f"{one.truth.name}\nat {plan.long} epochs", fontsize=8.5, color=MUTED)
    return whole


def _best(findings: list[Findings], epoch: float) -> list[str]:
    """Returns the losses, and the signals of the largest mean tau over the truths; the largest first."""
    signals = {finding.label: finding.signal for one in findings for finding in one.at(epoch)}
    labels = sorted(signals, key=lambda label: (signals[label].name != LOSS, -_mean_tau(findings, label, epoch)))
    return sorted(labels[:ROWS], key=lambda label: -_mean_tau(findings, label, epoch))


def _mean_tau(findings: list[Findings], label: str, epoch: float) -> float:
    found = [finding.tau for one in findings for finding in one.at(epoch) if finding.label == label]
    return sum(found) / len(findings)


def _one_of_each_kind(findings: list[Findings], epoch: float) -> list[str]:
    """Returns the losses of all runs, and the best of each other kind of signal; at most as many as `LINES`."""
    kinds: dict[str, list[str]] = {}
    for finding in findings[0].at(epoch):
        if finding.signal.name != RELATIVE:  # nearly the loss itself
            kinds.setdefault(_kind(finding), []).append(finding.label)
    return [max(labels, key=lambda label: _mean_tau(findings, label, epoch)) for _, labels in sorted(kinds.items())]


def _kind(finding: Finding) -> str:
    signal = finding.signal
    if signal.name == LOSS:
        return f"{LOSS}, {signal.source}"
    for kind in ("by ranks", "fitted", "prediction"):
        if signal.name.endswith(kind):
            return kind
    return "metric"
