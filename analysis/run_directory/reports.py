"""The reports of trials: how `reports.jsonl` names and holds them."""

import math
import re
from collections.abc import Mapping
from typing import Any

RESOURCE_DECIMALS = 4  # the precision of the resource in the names of the files of clip losses


def natural(name: str) -> str:
    """Returns the key that sorts T2 before T10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), name)


def plain_report(trial: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the report of `trial` as JSON can say it: a number that is not finite becomes null."""
    named = {"trial": trial, **report}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in named.items()
    }
