"""A clip store as the dataset of a task."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View


@dataclass(frozen=True)
class StoreDataset:
    """See `trainable.worker.Dataset`.

    Attributes:
        store: the open clip store, which has latents.
    """

    store: ClipStore

    @classmethod
    def open(cls, path: str | Path) -> "StoreDataset":
        """Opens the store in folder `path`.

        Raises:
            StoreError: no store there, an unfinished or a damaged one, or one without latents.
        """
        store = ClipStore.open(path)
        _ = store.teacher  # refuses a store without latents
        return cls(store)

    @property
    def path(self) -> Path:
        """Folder of the store."""
        return self.store.path

    @property
    def train_size(self) -> int:
        """Clips to train on."""
        return len(self.store.train)

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of the held-out clips."""
        return self.store.val.ids

    @property
    def geometry(self) -> tuple[View, int]:
        """The view of its clips, and the width of the latents."""
        return self.store.view, self.store.teacher.dim

    def facts(self) -> dict[str, Any]:
        """Returns view, teacher and clips; the fingerprint covers all that is in the store."""
        store = self.store
        return {
            "path": str(store.path.absolute()),
            "view_hash": store.view.hash,
            "teacher": store.teacher.name,
            "teacher_sha256": store.teacher.sha256,
            "train_clips": len(store.train),
            "val_clips": len(store.val),
            "fingerprint": store.manifest["fingerprint"],
        }
