"""What is raised where a run directory cannot be read."""

import math
from collections.abc import Iterable, Mapping
from typing import Any


class RunError(Exception):
    """A run directory that is missing, incomplete, broken or of another format; the message is one line."""


def require_fields(where: str, record: object, names: Iterable[str]) -> None:
    """Raise `RunError` unless `record` is a JSON object that has all of `names`."""
    if not isinstance(record, Mapping):
        raise RunError(f"{where} is {record!r}, and must be a JSON object")
    for name in names:
        if name not in record:
            raise RunError(f"{where} has no field {name}, and must have one")


def require_numbers(where: str, record: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise `RunError` unless each field of `record` among `names` is a number, null or absent."""
    for name in names:
        value = record.get(name)
        if value is not None and not is_number(value):
            raise RunError(f"{where}: {name} is {value!r}, and must be a number or null")


def is_number(value: object, finite: bool = False) -> bool:
    """Returns whether a JSON value is a number: true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and (not finite or math.isfinite(value))
