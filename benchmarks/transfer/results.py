"""What the experiment amounts to: figures of each signal, as JSON values and as tables in Markdown."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.replay.figures import interval, resamples
from benchmarks.replay.report import table, with_interval
from benchmarks.transfer.agreement import Counts, Samples, agreement
from benchmarks.transfer.signals import AVERAGED, COSINE, LOSS, Measurements, Signal, Truth

REFERENCE = (COSINE, LOSS)  # the objective of a search whose trials are short cosines
HEADER = ("signal", "from", "tau", "tau - val_loss's of the cosine", "right pairs", "given up")


@dataclass(frozen=True)
class Finding:
    """How well a signal predicts a truth.

    Attributes:
        signal: the signal.
        samples: its figures.
        gain: tau less that of `REFERENCE` at the same point, resample by resample.
    """

    signal: Signal
    samples: Samples
    gain: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def tau(self) -> float:
        """Kendall's tau with the truth."""
        return float(self.samples.tau[0])

    @property
    def label(self) -> str:
        """What the signal is, and what it is taken from."""
        return f"{self.signal.name} ({self.signal.source})"


@dataclass(frozen=True)
class Findings:
    """How well each signal predicts a truth.

    Attributes:
        truth: the truth.
        all: of each signal at each point.
    """

    truth: Truth
    all: list[Finding]

    def at(self, epoch: float) -> list[Finding]:
        """Returns those of one point, the largest tau first."""
        return sorted((one for one in self.all if one.signal.epoch == epoch), key=lambda one: -one.tau)


def find(measurements: Measurements) -> list[Findings]:
    """Compares all signals with all truths."""
    signals = list(measurements.signals())
    counts = resamples(1, len(measurements.plan.configs))
    return [Findings(truth, list(_of_truth(signals, truth, counts))) for truth in measurements.truths()]


def _of_truth(signals: list[Signal], truth: Truth, counts: Counts) -> Iterable[Finding]:
    meant = [signal for signal in signals if signal.fitted_to in (None, truth.name)]
    samples = [agreement(signal.values, truth.values, counts) for signal in meant]
    reference = {
        signal.epoch: one.tau
        for signal, one in zip(meant, samples, strict=True)
        if (signal.source, signal.name) == REFERENCE
    }
    for signal, one in zip(meant, samples, strict=True):
        yield Finding(signal, one, one.tau - reference[signal.epoch])


def figures(measurements: Measurements, findings: list[Findings]) -> dict[str, Any]:
    """Returns all figures as JSON values; an interval is a figure and its ends."""
    agreements: dict[str, Any] = {}
    for one in findings:
        sources = agreements.setdefault(one.truth.name, {})
        for finding in one.all:
            signal = finding.signal
            points = sources.setdefault(signal.source, {}).setdefault(signal.name, {})
            points[f"{signal.epoch:g}"] = {**finding.samples.intervals(), "tau gained": interval(finding.gain)}
    return {
        "seconds": measurements.seconds(),
        "truths": _truths(findings),
        "long runs": _long_runs(measurements),
        "agreement": agreements,
    }


def _truths(findings: list[Findings]) -> dict[str, Any]:
    """Returns how far the configurations are apart in each truth."""
    values = {one.truth.name: np.sort(abs(one.truth.values)) for one in findings}
    return {name: {"from": each[0], "median": float(np.median(each)), "to": each[-1]} for name, each in values.items()}


def _long_runs(measurements: Measurements) -> dict[str, Any]:
    """Compares the averaged weights with the cosine of the same length: positive differences are for the average."""
    truths = measurements.truths()
    counts = resamples(1, len(measurements.plan.configs))
    found: dict[str, Any] = {}
    for metric in dict.fromkeys(truth.metric for truth in truths):
        of = {truth.source: truth.values for truth in truths if truth.metric == metric}
        better = of[AVERAGED] - of[COSINE]
        found[metric] = {
            "averaged weights, better by": interval(counts @ better / counts.sum(1)),
            "in configurations": f"{int((better > 0).sum())} of {len(better)}",
        }
    return found


def markdown(findings: list[Findings], epoch: float) -> str:
    """Returns a table for each truth: the signals at one point, the largest tau first."""
    return "\n\n".join(
        f"### {one.truth.name}, predicted at {epoch:g} epochs\n\n{table(HEADER, map(_cells, one.at(epoch)))}"
        for one in findings
    )


def by_epoch(findings: list[Findings]) -> str:
    """Returns a table for each truth: tau of the signals at all points, the largest at the last early one first."""
    tables = []
    for one in findings:
        epochs = sorted({finding.signal.epoch for finding in one.all})
        rows = []
        for finding in one.at(epochs[-2]):
            found = {other.signal.epoch: other for other in one.all if other.label == finding.label}
            cells = (with_interval(interval(found[at].samples.tau), ".2f") if at in found else "" for at in epochs)
            rows.append((finding.signal.name, finding.signal.source, *cells))
        header = ("signal", "from", *(f"{epoch:g} epochs" for epoch in epochs))
        tables.append(f"### {one.truth.name}: tau\n\n{table(header, rows)}")
    return "\n\n".join(tables)


def _cells(finding: Finding) -> tuple[str, ...]:
    found = finding.samples.intervals()
    return (
        finding.signal.name,
        finding.signal.source,
        with_interval(found["tau"], ".2f"),
        with_interval(interval(finding.gain), ".2f"),
        with_interval(found["accuracy"], ".0%"),
        with_interval(found["regret"], ".3f"),
    )
