"""Folders that are staged beside the store that they are to become, or to join.

`plan.json` says what such a folder is to hold, so that only the same preparation goes on with it. The files in
`shards/` (see `completed_shards.py`) say which of its shards are whole.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from trainable.data.store.clip_store import ClipStore
from trainable.errors import StoreError
from trainable.files import sync_folder, write_json

GIVEN_UP: Final[dict[str, Any]] = {}  # the plan of a folder that is being deleted
REPLACED: Final = "replaced"  # where the store before lies, within the new one, until it is deleted


class StagedFolder:
    """A folder in which shards are written before a store has them.

    Args:
        folder: where; it need not be there.
        plan: what decides its content, as plain JSON.

    Attributes:
        folder: where.
        plan: what decides its content.
        completed: folder of `CompletedShards`.
        fresh: an earlier run left nothing there that is to stay.
        stale: what it left is of another plan, and goes at `begin`.
    """

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.folder, self.plan = folder, plan
        self.completed = folder / "shards"
        self.stale = False
        self.fresh = not any(file.is_file() and file.suffix != ".tmp" for file in folder.rglob("*"))

    def compare(self, *, overwrite: bool) -> None:
        """Takes over what an earlier run left.

        Args:
            overwrite: start over where that had another plan.

        Raises:
            StoreError: it had another plan, or something else lies there, which is never deleted.
        """
        plan = plan_of(self.folder / "plan.json")
        if self.fresh or plan == self.plan:
            return
        if plan is None:
            raise StoreError(f"{self.folder}: holds something that is not an unfinished clip store; move it away")
        if not overwrite and plan != GIVEN_UP:
            raise StoreError(
                f"{self.folder}: holds a preparation with other arguments that did not finish; "
                "repeat its arguments to go on, or start over with --overwrite"
            )
        self.stale = self.fresh = True

    def begin(self) -> None:
        """Makes it, or makes it ready to go on: what a run that was killed was writing goes."""
        if self.stale:
            self.remove()
            self.stale = False
        self.completed.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink()
        write_json(self.folder / "plan.json", {"plan": self.plan})

    def remove(self) -> None:
        """Deletes it; where that is stopped on the way, what is left passes for nothing more than that."""
        write_json(self.folder / "plan.json", {"plan": GIVEN_UP})
        for child in self.folder.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            elif child.name != "plan.json":
                child.unlink()
        (self.folder / "plan.json").unlink()
        self.folder.rmdir()


class StagedStore:
    """A store that is written in `STORE.partial` and takes its name when it is whole.

    Args:
        path: the store to be.
        plan: what decides its content, as plain JSON.
        overwrite: replace a store, or an unfinished one, of another plan.

    Attributes:
        path: the store to be.
        partial: where it is written.
        done: a finished store of this plan is there already.

    Raises:
        StoreError: `path` holds something else, finished or not, and `overwrite` is not given.
    """

    def __init__(self, path: Path, plan: dict[str, Any], *, overwrite: bool) -> None:
        self.path = path.absolute()
        self.partial = StagedFolder(self.path.with_name(self.path.name + ".partial"), plan)
        self.done = self._compare_finished(overwrite)
        if not self.done:
            self.partial.compare(overwrite=overwrite)
        elif (self.path / "plan.json").exists():
            self._tidy()

    def _compare_finished(self, overwrite: bool) -> bool:
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return False
        plan = plan_of(self.path / "manifest.json")
        if plan is None:  # never deleted, whatever the flags say
            raise StoreError(f"{self.path}: holds something that is not a clip store; choose another --store")
        if overwrite:
            return False
        if plan != self.partial.plan:
            if "reading" in self.partial.plan:
                ClipStore.open(self.path, whole=False).check_reading()
            raise StoreError(
                f"{self.path}: holds a clip store prepared otherwise; "
                "choose another --store, or replace it with --overwrite"
            )
        ClipStore.open(self.path)
        return True

    def take_name(self) -> ClipStore:
        """Gives the store its name, in place of one that is to be replaced.

        Returns:
            The store, open.
        """
        if self.path.exists():
            self.path.replace(self.partial.folder / REPLACED)
        self.partial.folder.replace(self.path)
        sync_folder(self.path.parent)
        self._tidy()
        return ClipStore.open(self.path)

    def _tidy(self) -> None:
        """Deletes what only the preparation needed; the plan last, since it says that there may be more to delete."""
        shutil.rmtree(self.path / REPLACED, ignore_errors=True)
        shutil.rmtree(self.path / self.partial.completed.name, ignore_errors=True)
        (self.path / "plan.json").unlink()


def plan_of(file: Path) -> dict[str, Any] | None:
    """Returns the plan that a manifest or a plan.json states; None where there is none to be read."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return plan if isinstance(plan, dict) else None
