"""How good a promoted encoder is: the panel and the attentive probe, beside what it is to be better than.

Each row is written as soon as it is measured, so that an evaluation that was stopped goes on with the next.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from analysis.statistics.comparison import LEVEL, critical_value
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import CheckpointError, UserError
from trainable.evaluate.above_untrained import WITH_LABELS, WITHOUT_LABELS, above
from trainable.evaluate.answers import Answers, answers_of, read_answers, value_fields, write_answers
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.features import student_features
from trainable.evaluate.judged import JudgedOn, Probed
from trainable.evaluate.panel_baselines import Fields, PanelBaselines, panel_baselines, panel_values
from trainable.evaluate.token_features import student_tokens
from trainable.files import write_json
from trainable.hashing import file_sha256
from trainable.metrics import METRICS, computed, interval_fields
from trainable.model.encoder import load_encoder
from trainable.model.student import Student
from trainable.train.training import autocast
from trainable.worker import Beside, FinalSpec, FinalTable, Report

LOSS: Final = "val_loss"
JUDGED_BY: Final = (("attentive_top1",), WITH_LABELS, WITHOUT_LABELS)  # the first that both have
STUDENTS: Final = ("averaged.student.", "model.student.")  # in a checkpoint: what is judged, and what is trained


def check_against(folder: Path, store: ClipStore) -> None:
    """Checks that the encoder in a folder can be compared on a store's clips.

    Raises:
        UserError: there is none, it is damaged, or it takes other clips.
    """
    try:
        view = load_encoder(folder).view
    except CheckpointError as error:
        raise UserError(f"--against = {error}") from error
    for name, value in store.view.geometry.items():
        if view.geometry[name] != value:
            here = f"it takes clips of {name} = {view.geometry[name]}, and the store has {value}"
            raise UserError(f"--against = {folder}: {here}; give a model of the same view")


def evaluate_final(
    spec: FinalSpec, beside: Beside, last: Report, store: ClipStore, tell: Callable[[str], None]
) -> FinalTable:
    """Measures a promoted encoder and what stands beside it; docs/run-directory.md has the fields.

    Args:
        spec: of the final training, whose encoder is written.
        beside: what it is compared with.
        last: the last report of the final training.
        store: the clip store.
        tell: called with what is being measured, for people.

    Raises:
        UserError: an encoder cannot be loaded, or the disk is full.
    """
    torch.set_num_threads(spec.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    baselines, evaluation = spec.baselines or spec.folder / "baselines", EvaluationConfig(**spec.evaluation)
    evaluator = Evaluator(store, evaluation, device=device, baselines=baselines)
    clips = len(evaluator.on.panel.ids)
    tell(f"evaluating the encoder and what stands beside it: the panel and an attentive probe, on {clips} clips")
    try:
        return _table(spec, beside, last, evaluator.on, tell)
    finally:
        evaluator.close()


def _panel() -> list[str]:
    """Returns the metrics of the panel, the dearest first; other packages may have added some."""
    return [name for at in ("final", "probe") for name, metric in computed(at).items() if metric.panel]


def _table(spec: FinalSpec, beside: Beside, last: Report, on: JudgedOn, tell: Callable[[str], None]) -> FinalTable:
    config, panel, rows = TrialConfig.from_dict(spec.config), _panel(), _Rows(spec.folder / "evaluation", on)
    fields: dict[str, Fields] = {}
    answers: dict[str, Mapping[str, Answers]] = {}
    notes: dict[str, str] = {}
    tell("  the model")
    fields["model"], answers["model"] = rows.encoder("model", spec.folder)
    fields["model"] |= _loss(last, on)
    searched = {name: beside.trial.get(name) for metric in panel for name in (metric, *interval_fields(metric))}
    tell("  the search's trial")
    try:
        fields["trial"], answers["trial"] = rows.checkpoint("trial", beside.checkpoint, beside.trial["config"])
    except CheckpointError:
        fields["trial"], answers["trial"] = searched, _kept_answers(beside.answers, on)
        notes["trial"] = "as the search measured it: its checkpoint is gone"
    fields["trial"] |= _loss(beside.trial, on)
    if beside.against is not None:
        tell(f"  {beside.against}")
        fields["against"], answers["against"] = rows.encoder("against", beside.against)
    tell("  untrained students, the teacher and raw pixels, unless an earlier run has left them")
    device = on.masked.device
    found = [panel_baselines(on, config, device, partial(autocast, config, device), at) for at in ("probe", "final")]
    for name in ("untrained", "teacher", "pixels", "chance"):
        fields[name] = {**found[0].fields[name], **found[1].fields[name]}
    rivals: dict[str, Sequence[Mapping[str, Answers]]] = {"untrained": _untrained(found)}
    rivals |= {name: [answers[name]] for name in ("trial", "against") if name in answers}
    columns = [name for name in (LOSS, *panel) if any(row.get(name) is not None for row in fields.values())]
    return {
        "columns": columns,
        "rows": fields,
        "left_out": {name: _why(name, on) for name in panel if name not in columns},
        "notes": notes,
        "against": None if beside.against is None else str(beside.against),
        "differences": {name: _differences(answers["model"], rival) for name, rival in rivals.items()},
        "verdict": {name: _verdict(answers["model"], rival) for name, rival in rivals.items()},
    }


class _Rows:
    """Measures encoders, or reads what an evaluation that was stopped has measured.

    Args:
        folder: where the rows are kept.
        on: the panel's clips.
    """

    def __init__(self, folder: Path, on: JudgedOn) -> None:
        self._folder, self._on = folder, on

    def encoder(self, name: str, folder: Path) -> tuple[Fields, dict[str, Answers]]:
        """Measures the encoder of a promoted model.

        Raises:
            CheckpointError: it cannot be loaded.
        """
        encoder = load_encoder(folder)
        student = Student(encoder.config, self._on.store.view)
        student.load_state_dict(encoder.state_dict())
        return self._measured(name, encoder.sha256, student, encoder.config)

    def checkpoint(self, name: str, path: Path, values: Mapping[str, Any]) -> tuple[Fields, dict[str, Answers]]:
        """Measures the student in a checkpoint, with averaged weights where it has any.

        Raises:
            CheckpointError: it is gone or damaged.
        """
        config = TrialConfig.from_dict(dict(values))
        student = Student(config, self._on.store.view)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                keys = list(file.keys())
                prefix = next(each for each in STUDENTS if any(key.startswith(each) for key in keys))
                weights = {name: file.get_tensor(prefix + name) for name in student.state_dict()}
            student.load_state_dict(weights)
        except (OSError, SafetensorError, StopIteration, RuntimeError) as error:
            raise CheckpointError(f"{path}: not a whole checkpoint ({error})") from error
        return self._measured(name, file_sha256(path), student, config)

    def _measured(
        self, name: str, sha256: str, student: Student, config: TrialConfig
    ) -> tuple[Fields, dict[str, Answers]]:
        on = self._on
        file, kept = self._folder / f"{name}.json", self._folder / f"{name}.parquet"
        of = {
            "weights_sha256": sha256,
            "evaluation": on.evaluation.to_dict(),
            "store": on.store.manifest["fingerprint"],
            "metrics": _panel(),
        }
        if (known := self._kept(file, kept, of)) is not None:
            return known
        student.to(on.masked.device)
        precision = partial(autocast, config, on.masked.device)
        probed = Probed(
            on, lambda: student_features(student, precision, on), lambda: student_tokens(student, precision, on)
        )
        values = panel_values(probed, "final", "probe")
        fields: Fields = {}
        for metric, value in values.items():
            fields |= value_fields(metric, value)
        write_answers(kept, answers_of(values), on.panel.ids)
        write_json(file, {"of": of, "fields": fields})
        return fields, answers_of(values)

    def _kept(self, file: Path, answers: Path, of: Mapping[str, Any]) -> tuple[Fields, dict[str, Answers]] | None:
        """Returns what was measured before; None where it was not, of something else, or cannot be read."""
        try:
            content = json.loads(file.read_bytes())
            return (content["fields"], read_answers(answers, self._on.panel.ids)) if content["of"] == of else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _kept_answers(path: Path, on: JudgedOn) -> dict[str, Answers]:
    """Returns what a trial answered in the search; nothing where that is gone."""
    try:
        return read_answers(path, on.panel.ids)
    except (OSError, ValueError, KeyError):
        return {}


def _untrained(found: Sequence[PanelBaselines]) -> list[dict[str, Answers]]:
    """Returns the answers of each untrained student, of both kinds of points."""
    return [{**one, **other} for one, other in zip(*(each.untrained for each in found), strict=True)]


def _loss(report: Mapping[str, Any], on: JudgedOn) -> Fields:
    """Returns the held-out loss of a report with its 95% interval over the clips."""
    loss, error = report.get(LOSS), report.get(f"{LOSS}_se")
    low, high = interval_fields(LOSS)
    if loss is None or error is None or len(on.chosen) < 2:
        return {LOSS: loss, low: None, high: None}
    margin = critical_value(2, len(on.chosen) - 1, LEVEL) * error
    return {LOSS: loss, low: loss - margin, high: loss + margin}


def _differences(own: Mapping[str, Answers], rivals: Sequence[Mapping[str, Answers]]) -> dict[str, Any]:
    """Returns by how much each accuracy is above the rivals' mean, fold by fold on the same clips."""
    shared = [name for name in own if all(name in rival for rival in rivals)]
    return {name: asdict(above(own, (name,), rivals)) for name in shared}


def _verdict(own: Mapping[str, Answers], rivals: Sequence[Mapping[str, Answers]]) -> dict[str, Any] | None:
    """Returns the difference that decides, and of which accuracies it is the mean; None where none was measured."""
    for names in JUDGED_BY:
        if all(name in answers for name in names for answers in (own, *rivals)):
            return {"metrics": list(names), **asdict(above(own, names, rivals))}
    return None


def _why(name: str, on: JudgedOn) -> str:
    """Says why no row has a metric of the panel."""
    if METRICS[name].needs_labels and not on.panel.labelled.any():
        return "it needs two classes, each with clips of two groups"
    if on.store.view.grid[0] < 2:
        return "clips have one time slot"
    return "the clips allow no fold"
