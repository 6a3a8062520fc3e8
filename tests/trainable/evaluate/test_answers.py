"""Accuracies are those of the folds, balanced where classes are uneven; and a file gives back what it was given."""

from pathlib import Path

import numpy as np
import pytest

from trainable.evaluate.answers import Answers, answers_of, read_answers, value_fields, write_answers


def answers(labels: list[int], predicted: list[int], folds: list[int], repeats: list[int] | None = None) -> Answers:
    """Answers of as many clips."""
    count = len(labels)
    return Answers(
        np.arange(count) % 7, np.array(labels), np.array(repeats or [0] * count), np.array(folds), np.array(predicted)
    )


def test_each_fold_of_each_repeat_has_an_accuracy() -> None:
    found = answers([0, 1, 0, 1] * 2, [0, 1, 1, 1, 0, 0, 0, 1], [0, 0, 1, 1] * 2, [0] * 4 + [1] * 4)
    assert found.accuracies.tolist() == [1.0, 0.5, 0.5, 1.0]
    assert found.test_to_train == 1.0
    assert found.estimate().mean == 0.75


def test_a_class_that_is_half_as_frequent_counts_as_much() -> None:
    even = answers([0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0] * 5)
    uneven = answers([0, 0, 0, 0, 1, 1], [0] * 6, [0] * 6)
    assert (even.uneven, uneven.uneven) == (False, True)
    assert even.accuracies.tolist() == [0.6]
    assert uneven.accuracies.tolist() == [0.5]


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    names = [f"class/clip {number}" for number in range(7)]
    written = {
        "one": answers([0, 1, 2, 0, 1, 2, 3], [2, 2, 2, 0, 0, 1, 3], [0, 0, 1, 1, 2, 2, 2]),
        "other": answers([5, 5], [5, 4], [1, 0], [0, 2]),
    }
    path = tmp_path / "T0" / "answers.parquet"
    write_answers(path, written, names)
    read = read_answers(path, names)
    assert list(read) == list(written)
    for name, given in written.items():
        for field in ("clips", "labels", "repeats", "folds", "predicted"):
            assert getattr(read[name], field).tolist() == getattr(given, field).tolist()
    with pytest.raises(KeyError):
        read_answers(path, names[1:])
    write_answers(path, {}, names)
    assert read_answers(path, names) == {}


def test_fields_of_a_report_have_the_ends_of_an_interval() -> None:
    found = answers([0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1])
    fields = value_fields("probe_top1", found)
    assert fields["probe_top1"] == 0.75
    assert fields["probe_top1_low"] == 0.0 and fields["probe_top1_high"] == 1.0
    assert value_fields("probe_top1", None) == dict.fromkeys(fields)
    assert value_fields("lidar", 3.5) == {"lidar": 3.5}
    assert answers_of({"probe_top1": found, "lidar": 3.5, "knn_top1": None}) == {"probe_top1": found}
