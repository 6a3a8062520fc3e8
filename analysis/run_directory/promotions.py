"""What a promoted run keeps of itself: what was promised at its beginning, what ended it, how good its model is."""

import json
from pathlib import Path
from typing import Any, Final

from analysis.errors import RunError, require_fields
from analysis.run_directory.paths import FinalDirectory

ASKED: Final = ("trial", "epochs", "beginning", "begun_at_epoch", "trunk_epochs", "predicted")
EVALUATED: Final = ("columns", "rows", "left_out", "notes", "differences", "verdict")


def read_promotion(final: FinalDirectory) -> dict[str, Any] | None:
    """Reads promotion.json; None where no training has begun.

    Raises:
        RunError: it is damaged.
    """
    return _read(final.promotion, ASKED)


def read_evaluation(final: FinalDirectory) -> dict[str, Any] | None:
    """Reads evaluation.json; None where the model was not measured, or not yet.

    Raises:
        RunError: it is damaged.
    """
    return _read(final.evaluation, EVALUATED)


def read_error(final: FinalDirectory) -> str | None:
    """Reads what ended the last attempt to train or measure it; None where nothing did."""
    try:
        return final.error.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _read(path: Path, fields: tuple[str, ...]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read, and must be JSON: {error}") from error
    require_fields(str(path), content, fields)
    return dict(content)
