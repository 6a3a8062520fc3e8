"""What a probe answers of clips that it was not fitted to: accuracies of folds, and the file that keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.statistics.cross_validation import FoldMean, mean_over_folds
from trainable.files import atomic_write
from trainable.metrics import METRICS, interval_fields

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNEVEN: Final = 1.5  # times the answers of the smallest class, above which a class must not count for more than others

SCHEMA = pa.schema(
    [
        ("metric", pa.dictionary(pa.int8(), pa.string())),
        ("clip", pa.dictionary(pa.int32(), pa.string())),
        ("label", pa.int32()),
        ("repeat", pa.int16()),
        ("fold", pa.int16()),
        ("predicted", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Answers:
    """The answers of one metric; every array has one entry an answer.

    Attributes:
        clips: positions in the panel's clips.
        labels: what is right.
        repeats: in which repeat of the folds.
        folds: in which fold the clip was held out.
        predicted: what the probe said.
    """

    clips: Ints
    labels: Ints
    repeats: Ints
    folds: Ints
    predicted: Ints

    @property
    def uneven(self) -> bool:
        """Whether the largest class has more than 1.5 times the answers of the smallest."""
        counts = np.unique(self.labels, return_counts=True)[1]
        return bool(counts.max() > UNEVEN * counts.min())

    @cached_property
    def accuracies(self) -> Floats:
        """The accuracy on each fold, repeat by repeat; balanced over the classes where they are `uneven`."""
        from sklearn.metrics import accuracy_score
        from sklearn.utils.class_weight import compute_sample_weight

        found, balanced = [], self.uneven
        for fold in self._by_fold():
            labels = self.labels[fold]
            weights = compute_sample_weight("balanced", labels) if balanced else None
            found.append(accuracy_score(labels, self.predicted[fold], sample_weight=weights))
        return np.array(found, dtype=np.float64)

    @property
    def test_to_train(self) -> float:
        """Clips of a fold over those that the probe was fitted to meanwhile; the mean over the folds."""
        sizes = np.array([len(fold) for fold in self._by_fold()])
        whole = np.bincount(self.repeats)[[self.repeats[fold[0]] for fold in self._by_fold()]]
        return float(np.mean(sizes / np.maximum(whole - sizes, 1)))

    def estimate(self) -> FoldMean:
        """Returns the mean accuracy of the folds with its interval."""
        return mean_over_folds(self.accuracies, self.test_to_train)

    def _by_fold(self) -> list[Ints]:
        """Returns the positions of the answers of each fold, repeat by repeat."""
        numbers = self.repeats * (1 + self.folds.max(initial=0)) + self.folds
        order = np.argsort(numbers, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


Value = float | FoldMean | Answers | None
"""What a metric gives: a number, one with its interval, the answers that it is the accuracy of, or nothing."""


def answers_of(values: Mapping[str, Value]) -> dict[str, Answers]:
    """Returns those values of metrics that are answers."""
    return {name: value for name, value in values.items() if isinstance(value, Answers)}


def value_fields(name: str, value: Value) -> dict[str, float | None]:
    """Returns the fields of a report for a metric's value; with the ends of its interval where it has one.

    Args:
        name: of the metric.
        value: its value.
    """
    if isinstance(value, Answers):
        value = value.estimate()
    if isinstance(value, FoldMean):
        low, high = interval_fields(name)
        return {name: value.mean, low: value.low, high: value.high}
    return {name: value, **(dict.fromkeys(interval_fields(name)) if METRICS[name].interval else {})}


def write_answers(path: Path, answers: Mapping[str, Answers], ids: Sequence[str]) -> None:
    """Writes the answers of some metrics, by name, atomically; docs/run-directory.md has the columns.

    Args:
        path: the file; its folder is made.
        answers: of each metric.
        ids: names of the panel's clips.
    """
    names = np.array(ids, dtype=object)
    tables = [
        pa.table(
            {
                "metric": pa.array([metric] * len(each.clips), pa.string()),
                "clip": pa.array(names[each.clips], pa.string()),
                "label": each.labels,
                "repeat": each.repeats,
                "fold": each.folds,
                "predicted": each.predicted,
            }
        ).cast(SCHEMA)
        for metric, each in answers.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        pq.write_table(pa.concat_tables(tables) if tables else SCHEMA.empty_table(), temporary)


def read_answers(path: Path, ids: Sequence[str]) -> dict[str, Answers]:
    """Reads what `write_answers` wrote.

    Args:
        path: the file.
        ids: names of the panel's clips.

    Raises:
        KeyError: it has a clip that is not among them.
        OSError: it cannot be read.
    """
    table, positions = pq.read_table(path), {name: position for position, name in enumerate(ids)}
    metrics = np.array(table["metric"].to_pylist(), dtype=object)
    clips = np.array([positions[name] for name in table["clip"].to_pylist()], dtype=np.int64)
    label, repeat, fold, predicted = (
        table[name].to_numpy().astype(np.int64) for name in ("label", "repeat", "fold", "predicted")
    )
    found = {}
    for metric in dict.fromkeys(metrics):
        of = metrics == metric
        found[str(metric)] = Answers(clips[of], label[of], repeat[of], fold[of], predicted[of])
    return found
