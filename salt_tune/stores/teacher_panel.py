"""What a teacher's latents know: their probes beside those of random weights and raw pixels, on a store's clips."""

from contextlib import nullcontext
from typing import Final

import torch

from analysis.verdict import Verdict, verdict_of
from salt_tune.stores import BASELINES
from salt_tune.stores.teachers import DEFAULT, device
from salt_tune.ui.accuracies import accuracy_bars, named, points
from salt_tune.ui.console import console
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.above_untrained import WITH_LABELS, above
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.panel_baselines import PanelBaselines, panel_baselines
from trainable.metrics import METRICS

UNTRAINED: Final = TrialConfig(student="vit_tiny_patch16_224", student_depth=4)  # that a small machine can ask as well
EVALUATION: Final = EvaluationConfig(panel_clips=512, repeats=2)


def say_teacher_panel(store: ClipStore) -> None:
    """Prints what probes read off the latents, and warns where random weights serve as well.

    It is measured once, and kept in the store.

    Raises:
        UserError: what was measured cannot be written into the store.
    """
    with console.status("probing the latents"):
        clips, panel = measure_teacher_panel(store)
    (metric,) = WITH_LABELS
    if panel.fields["teacher"].get(metric) is None:
        rank, beside = (panel.fields[name]["effective_rank"] or 0.0 for name in ("teacher", "untrained"))
        console.print(
            f"Clips have no two classes that probes can tell apart, so what the latents know is not measured; "
            f"their effective rank is {rank:.1f}, that of random weights {beside:.1f}"
        )
        return
    console.print(f"What the latents know, of {clips} clips: {METRICS[metric].label}; 95% over clips and folds")
    for bar in accuracy_bars(named(panel.fields), metric):
        console.print(f"  {bar}")
    _say_verdict(store.teacher.name, panel, metric)


def measure_teacher_panel(store: ClipStore) -> tuple[int, PanelBaselines]:
    """Returns the number of clips that probes were asked about, and what was measured; see `say_teacher_panel`."""
    where = torch.device(device())
    evaluator = Evaluator(store, EVALUATION, device=where, baselines=store.path / BASELINES)
    try:
        return len(evaluator.on.panel.ids), panel_baselines(evaluator.on, UNTRAINED, where, nullcontext)
    finally:
        evaluator.close()


def _say_verdict(teacher: str, panel: PanelBaselines, metric: str) -> None:
    found = above(panel.teacher, (metric,), panel.untrained)
    by = points(found.mean, found.low, found.high)
    verdict = verdict_of(found.low, found.high, {})
    if verdict == Verdict.BETTER:
        console.print(f"The latents of {teacher} know more than random weights do, by {by}")
        return
    said = "know less than" if verdict == Verdict.WORSE else "are not shown to know more than"
    other = "" if teacher == DEFAULT else f"--teacher {DEFAULT}, or "
    console.warn(
        f"the latents of {teacher} {said} random weights, by {by}, so a student of them may be of no use; "
        f"more clips would tell; other latents: {other}a VideoMAE's, by --teacher-weights"
    )
