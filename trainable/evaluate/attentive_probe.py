"""`attentive_top1`: what V-JEPA's attentive probe reads off frozen tokens, at the end of a final run.

Probes are trained side by side with every learning rate and weight decay of `GRID`, for every fold. Each fold's best is
chosen on a part of the clips outside it, and asked about those within.
"""

from itertools import product
from typing import Final

import numpy as np
import torch

from trainable.evaluate.answers import Answers, Ints
from trainable.evaluate.attentive_heads import Setting, fit_and_tell
from trainable.evaluate.cross_validate import Told, joined
from trainable.evaluate.judged import Probed
from trainable.evaluate.panel import Panel, draw_folds

RATES: Final = (5e-3, 1e-3)  # of V-JEPA 2's five, 5e-3 to 1e-4: the lower ones need more steps than few clips have
DECAYS: Final = (0.01, 0.4)  # of V-JEPA 2's four, 0.01 to 0.8
GRID: Final = tuple(Setting(lr, decay) for lr, decay in product(RATES, DECAYS))
INNER_FOLDS: Final = 5  # one of which chooses


def attentive_top1(judged: Probed) -> Answers | None:
    """Answers for each clip which class it is, by an attentive probe on its tokens; one repeat of the panel's folds.

    None where there are not two classes that can be told, or no tokens.
    """
    panel = judged.on.panel
    clips = np.flatnonzero(panel.labelled)
    if not len(clips) or not len(panel.folds) or judged.tokens is None:
        return None
    folds = panel.folds[0][clips]
    held = {int(fold): np.flatnonzero(folds == fold) for fold in np.unique(folds)}
    if len(held) < 2:
        return None
    classes, labels = np.unique(panel.labels[clips], return_inverse=True)
    parts = {fold: _parts(panel, clips, np.flatnonzero(folds != fold)) for fold in held}
    device = judged.tokens.device
    tokens = judged.tokens[torch.from_numpy(clips).to(device)]
    logits = fit_and_tell(
        tokens,
        torch.from_numpy(labels).to(device),
        [fitted for fitted, _ in parts.values()],
        GRID,
        seed=panel.evaluation.seed,
        least_steps=panel.evaluation.attentive_steps,
    )
    told: list[Told] = []
    for (fold, (_, choosing)), each in zip(parts.items(), logits, strict=True):
        best = each[_best(each[:, torch.from_numpy(choosing).to(device)].cpu(), labels[choosing])]
        predicted = best.argmax(dim=1).cpu().numpy()[held[fold]]
        told.append((held[fold], 0, fold, classes[predicted]))
    return joined(told, panel.labels[clips], clips)


def _parts(panel: Panel, clips: Ints, outside: Ints) -> tuple[Ints, Ints]:
    """Parts the clips outside a fold, no group into two: rows to fit to, and rows to choose on, which may be none."""
    chosen = clips[outside]
    keys, labels, groups = panel.keys[chosen], panel.labels[chosen], panel.groups[chosen]
    inner = draw_folds(keys, labels, groups, INNER_FOLDS, 1, panel.evaluation.seed)
    choosing = inner[0] == 0 if len(inner) else np.zeros(len(outside), dtype=np.bool_)
    return outside[~choosing], outside[choosing]


def _best(logits: torch.Tensor, labels: Ints) -> int:
    """Returns the probe of the highest accuracy, balanced where classes are uneven; of equal ones, the lowest loss.

    Args:
        logits: shape (probes, clips, classes).
        labels: class indices, shape (clips,); where there are none, it is the first probe.
    """
    if not len(labels):
        return 0
    rows, none = np.arange(len(labels)), np.zeros(len(labels), dtype=np.int64)
    right = [Answers(rows, labels, none, none, each.argmax(dim=1).numpy()).accuracies[0] for each in logits]
    expected = torch.from_numpy(labels)
    losses = [float(torch.nn.functional.cross_entropy(each, expected)) for each in logits]
    return min(range(len(logits)), key=lambda probe: (-right[probe], losses[probe]))
