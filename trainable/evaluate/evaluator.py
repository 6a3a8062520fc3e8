"""Judges trainings: the same held-out clips under the same masks for every trial, whatever it trained with."""

from pathlib import Path

import torch

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import draw_clips
from trainable.data.store.loader import Loader, Target
from trainable.evaluate.above_untrained import verdict_on
from trainable.evaluate.answers import value_fields
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.judged import Judgeable, Judged, JudgedOn
from trainable.evaluate.panel import draw_panel
from trainable.masking.masks import Masks
from trainable.metrics import When, computed


class Evaluator:
    """Judges trainings on a store's held-out clips; made once and used for every trial.

    Args:
        store: the clip store.
        config: what to judge on.
        target: what the trainings predict.
        device: where the trainings run.
        threads: background threads that decode, where pixels are not stored raw; None: one a core.
        baselines: folder for what baselines of the panel get, measured when first needed; None: there is no verdict.

    Attributes:
        on: the clips that it judges on.
        clip_ids: names of the held-out clips that losses are of.

    Raises:
        ConfigError: the masks do not fit the store's view.
    """

    def __init__(
        self,
        store: ClipStore,
        config: EvaluationConfig,
        *,
        target: Target = "latents",
        device: torch.device | str = "cpu",
        threads: int | None = None,
        baselines: Path | None = None,
    ) -> None:
        masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
        size = min(config.batch_size, len(store.val))
        self.on = JudgedOn(
            store,
            config,
            target,
            masks,
            masked=Loader(store, store.val, masks, size, target=target, device=device, threads=threads),
            whole={
                split: Loader(store, store.clips(split), None, size, target="pixels", device=device, threads=threads)
                for split in ("train", "val")
            },
            chosen=draw_clips(store.val, config.clips, config.seed),
            panel=draw_panel(store, config),
            folder=baselines,
        )
        self.clip_ids = [store.val.ids[clip] for clip in self.on.chosen]

    def close(self) -> None:
        """Ends the background threads."""
        for loader in (self.on.masked, *self.on.whole.values()):
            loader.close()

    def judge(self, model: Judgeable) -> Judged:
        """Returns the model as it stands, for `measure`."""
        return Judged(model, self.on)


def measure(judged: Judged, at: When) -> dict[str, float | str | None]:
    """Returns the fields of a report that the metrics of a judged model give.

    Args:
        judged: the model.
        at: which: those of every report, those of probe points only, which take a pass over whole clips, or those of
            the end of a final run.

    Returns:
        Of each metric a number, and the ends of its interval where it has one; None where the clips allow none. At
        probe points also `verdict`, None where nothing stands beside the model.
    """
    fields: dict[str, float | str | None] = {}
    for name in computed(at):
        fields |= value_fields(name, judged.value(name))
    return fields if at != "probe" else {**fields, "verdict": verdict_on(judged)}
