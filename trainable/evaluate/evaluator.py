"""Judges trainings: the same held-out clips under the same masks for every trial, whatever it trained with."""

import torch

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import draw_clips
from trainable.data.store.loader import Loader, Target
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.judged import Judgeable, Judged, JudgedOn
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

    Attributes:
        clip_ids: names of the held-out clips that are used.

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
    ) -> None:
        masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
        size = min(config.batch_size, len(store.val))
        self._on = JudgedOn(
            store,
            target,
            masked=Loader(store, store.val, masks, size, target=target, device=device, threads=threads),
            whole={
                split: Loader(store, store.clips(split), None, size, target="pixels", device=device, threads=threads)
                for split in ("train", "val")
            },
            chosen=draw_clips(store.val, config.clips, config.seed),
            probe_chosen=draw_clips(store.train, config.probe_clips, config.seed),
        )
        self.clip_ids = [store.val.ids[clip] for clip in self._on.chosen]

    def close(self) -> None:
        """Ends the background threads."""
        for loader in (self._on.masked, *self._on.whole.values()):
            loader.close()

    def judge(self, model: Judgeable) -> Judged:
        """Returns the model as it stands, for `measure`."""
        return Judged(model, self._on)


def measure(judged: Judged, at: When) -> dict[str, float | None]:
    """Returns the metrics of a judged model, by name.

    Args:
        judged: the model.
        at: which: those of every report, or those of probe points only, which take a pass over whole clips.

    Returns:
        A number each; None where the clips allow none.
    """
    return {name: metric.function(judged) for name, metric in computed(at).items()}
