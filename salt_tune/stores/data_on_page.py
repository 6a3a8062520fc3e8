"""What a page shows of the clip store of a run: facts and pictures, where it is still there."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analysis.text import printable
from trainable.errors import UserError

DPI: Final = 90
SHOWN_FACTS: Final = ("path", "train_clips", "val_clips", "teacher", "view_hash")


@dataclass(frozen=True)
class Data:
    """A clip store on a page.

    Attributes:
        facts: name and value.
        picture: a data URL of its contact sheet; empty: there is none.
        note: why there is none, or empty.
        classes: the number of clips of each class, training and held-out, by its name.
    """

    facts: list[tuple[str, str]]
    picture: str
    note: str
    classes: list[tuple[str, int, int]]


def describe_data(store: Mapping[str, Any]) -> Data:
    """Describes the store that a run was made on.

    Args:
        store: what the run remembers of it, see docs/run-directory.md.
    """
    facts = [(name.replace("_", " "), printable(str(store[name]))) for name in SHOWN_FACTS if name in store]
    path = Path(str(store.get("path", "")))
    if not (path / "manifest.json").is_file():
        return Data(facts, "", "The clip store is not at this path, so that there are no pictures of it.", [])
    from salt_tune.stores.pictures import contact_sheet
    from trainable.data.store.clip_store import ClipStore

    try:
        clips = ClipStore.open(path)
        view = clips.view
        facts.append(("a clip", f"{view.frames} frames of {view.size} x {view.size}, {view.tokens} tokens"))
        counts = [
            (printable(name), int((clips.train.labels == label).sum()), int((clips.val.labels == label).sum()))
            for label, name in enumerate(clips.labels)
        ]
        sheet, file = contact_sheet(clips), io.BytesIO()
        sheet.savefig(file, format="webp", dpi=DPI)
    except (UserError, OSError, KeyError, ValueError) as error:
        return Data(facts, "", f"There are no pictures of the clip store: {printable(str(error))}", [])
    picture = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    return Data(facts, picture, "", counts)
