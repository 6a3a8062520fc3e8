"""What stands beside the panel of a trial: chance, untrained students, raw pixels, and the teacher's own latents.

They depend on the store, the evaluation and the student's architecture. The first process that needs them measures
them; the others wait for it and read its file.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from filelock import FileLock, Timeout

from analysis.statistics.cross_validation import mean_over_folds
from trainable import heartbeat
from trainable.config import TrialConfig
from trainable.errors import UserError
from trainable.evaluate.answers import Answers, Value, answers_of, read_answers, value_fields, write_answers
from trainable.evaluate.features import Precision, latent_features, pixel_features, student_features
from trainable.evaluate.judged import Judged, JudgedOn, Probed
from trainable.evaluate.token_features import latent_tokens, student_tokens
from trainable.files import write_json
from trainable.metrics import When, computed
from trainable.model.student import Student

SEEDS: Final = (0, 1, 2)  # of the untrained students
ARCHITECTURE: Final = ("student", "student_dim", "student_depth", "student_heads")
DIGITS: Final = 12  # of the hash that names a file

Fields = dict[str, float | None]


@dataclass(frozen=True)
class PanelBaselines:
    """What the baselines of one architecture get.

    Attributes:
        fields: of each baseline, "chance", "untrained", "pixels" and "teacher", as in reports: each metric and the ends
            of its interval; None where it has none.
        untrained: what the untrained students answered, by metric; one a seed.
        teacher: what probes of the teacher's latents answered, by metric.
    """

    fields: Mapping[str, Fields]
    untrained: tuple[Mapping[str, Answers], ...]
    teacher: Mapping[str, Answers]


def baselines_beside(judged: Judged) -> PanelBaselines:
    """Returns the baselines of a model's architecture; see `panel_baselines`."""
    model = judged.model
    return panel_baselines(judged.on, model.config, model.device, model.autocast)


def panel_baselines(
    on: JudgedOn, config: TrialConfig, device: torch.device, autocast: Precision, at: When = "probe"
) -> PanelBaselines:
    """Returns the baselines of an architecture, from `JudgedOn.folder` or measured anew and kept there.

    Args:
        on: the panel's clips.
        config: its student is built anew.
        device: where that runs.
        autocast: gives its precision.
        at: which metrics of the panel; those of "final" lie in a folder of this name.

    Raises:
        ValueError: what is judged on has no folder for them.
        UserError: they cannot be written there.
    """
    if on.folder is None:
        raise ValueError("no folder to keep baselines in")
    facts = _facts(on, config)
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:DIGITS]
    file = (on.folder if at == "probe" else on.folder / at) / f"{name}.json"

    def measure() -> dict[str, dict[str, Value]]:
        return measure_baselines(on, config, device, autocast, at)

    def get() -> PanelBaselines:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.with_suffix(".lock")):
            return _read(file, on) or _measure_and_write(file, facts, on, measure)

    found: PanelBaselines = on.once(f"panel baselines {name} {at}", get)
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits for other processes that measure them, and shows all the while that it lives."""
    lock = FileLock(path)
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=heartbeat.EVERY)
            break
        heartbeat.beat()
    try:
        yield
    finally:
        lock.release()


def measure_baselines(
    on: JudgedOn, config: TrialConfig, device: torch.device, autocast: Precision, at: When = "probe"
) -> dict[str, dict[str, Value]]:
    """Measures the metrics of the baselines of an architecture.

    Args:
        on: the panel's clips.
        config: its student is built anew.
        device: where that runs.
        autocast: gives its precision.
        at: which metrics of the panel.

    Returns:
        The value of each metric: of "untrained-0" to "untrained-2", whose weights are of three seeds, of "pixels", and
        of the "teacher".
    """
    probed: dict[str, Callable[[], Probed]] = {
        f"untrained-{seed}": partial(_untrained, on, config, seed, device, autocast) for seed in SEEDS
    }
    probed |= {
        "pixels": lambda: Probed(on, lambda: pixel_features(on)),
        "teacher": lambda: Probed(on, lambda: latent_features(on), lambda: latent_tokens(on)),
    }
    return {name: panel_values(make(), at) for name, make in probed.items()}  # one after the other: each takes memory


def panel_values(probed: Probed, *points: When) -> dict[str, Value]:
    """Returns the metrics of the panel of these kinds of points, by name."""
    names = [name for at in points for name, metric in computed(at).items() if metric.panel]
    return {name: probed.value(name) for name in names}


def summed_up(values: Mapping[str, Mapping[str, Value]]) -> PanelBaselines:
    """Returns the baselines from the values that `measure_baselines` gives."""
    students = [values[f"untrained-{seed}"] for seed in SEEDS]
    fields: dict[str, Fields] = {
        "chance": {name: chance_of(value) for name, value in students[0].items() if isinstance(value, Answers)},
        "untrained": {},
        "pixels": {},
        "teacher": {},
    }
    for name in students[0]:
        fields["untrained"] |= value_fields(name, mean_value([student[name] for student in students]))
        for baseline in ("pixels", "teacher"):
            fields[baseline] |= value_fields(name, values[baseline][name])
    return PanelBaselines(fields, tuple(map(answers_of, students)), answers_of(values["teacher"]))


def chance_of(answers: Answers) -> float:
    """Returns what always giving one answer gets: the share of the largest class, or one in so many where balanced."""
    counts = np.unique(answers.labels, return_counts=True)[1]
    return float(1 / len(counts) if answers.uneven else counts.max() / counts.sum())


def mean_value(values: Sequence[Value]) -> Value:
    """Returns the mean over the seeds of a metric, of accuracies fold by fold; None where one of them has none."""
    answers = [value for value in values if isinstance(value, Answers)]
    if len(answers) == len(values):
        accuracies = np.mean([each.accuracies for each in answers], axis=0)
        return mean_over_folds(accuracies, answers[0].test_to_train)
    numbers = [value for value in values if isinstance(value, int | float)]
    return float(np.mean(numbers)) if len(numbers) == len(values) else None


def _untrained(on: JudgedOn, config: TrialConfig, seed: int, device: torch.device, autocast: Precision) -> Probed:
    """Builds a new student; the random numbers of the training that goes on are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(config, on.store.view).to(device)
    return Probed(on, lambda: student_features(student, autocast, on), lambda: student_tokens(student, autocast, on))


def _facts(on: JudgedOn, config: TrialConfig) -> dict[str, Any]:
    """Returns all that the baselines depend on."""
    return {
        "architecture": {name: getattr(config, name) for name in ARCHITECTURE},
        "evaluation": on.evaluation.to_dict(),
        "store": on.store.manifest["fingerprint"],
        "view_hash": on.store.view.hash,
        "teacher_sha256": on.store.teacher.sha256,
    }


def _measure_and_write(
    file: Path, facts: dict[str, Any], on: JudgedOn, measure: Callable[[], dict[str, dict[str, Value]]]
) -> PanelBaselines:
    """Measures, and writes the answers, then the file: where it is, all of it is there."""
    values = measure()
    baselines = summed_up(values)
    try:
        for name, each in values.items():
            write_answers(file.with_suffix("") / f"{name}.parquet", answers_of(each), on.panel.ids)
        write_json(file, {**facts, "baselines": baselines.fields})
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}; free some space, or look at the disk") from error
    return baselines


def _read(file: Path, on: JudgedOn) -> PanelBaselines | None:
    """Returns what was written before; None where it was not, or cannot be read."""
    try:
        fields = json.loads(file.read_bytes())["baselines"]
        names = (*(f"untrained-{seed}" for seed in SEEDS), "teacher")
        *untrained, teacher = (read_answers(file.with_suffix("") / f"{name}.parquet", on.panel.ids) for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return PanelBaselines(fields, tuple(untrained), teacher)
