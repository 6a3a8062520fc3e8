"""What a promotion keeps in its folder, for those that look at it later; docs/run-directory.md has the fields."""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from analysis.errors import RunError
from analysis.run_directory.paths import FinalDirectory
from analysis.run_directory.promotions import read_promotion
from trainable.errors import UserError
from trainable.files import atomic_write, write_json


def record_promotion(final: FinalDirectory, promise: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Writes what is known of a final run before it trains; one that goes on keeps what it began with.

    Args:
        final: its directory.
        promise: gives the fields of promotion.json.

    Returns:
        The fields that stand there now.
    """
    known = read_promotion(final) if final.reports.exists() else None
    if known is None:
        write_json(final.promotion, known := promise())
    return known


@contextmanager
def error_kept(final: FinalDirectory) -> Iterator[None]:
    """Keeps in error.txt what ends the block, and lets it through; one that ends well leaves no such file.

    A `UserError` is its line, any other error its traceback.
    """
    try:
        yield
    except Exception as error:
        line = isinstance(error, UserError | RunError)
        with contextlib.suppress(OSError), atomic_write(final.error) as temporary:
            temporary.write_text(f"{error}\n" if line else traceback.format_exc(), encoding="utf-8")
        raise
    final.error.unlink(missing_ok=True)
