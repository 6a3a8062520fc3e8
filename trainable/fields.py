"""The fields of a configuration: whether there is one of a name, and whether a value is of its type."""

import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from trainable.errors import ConfigError
from trainable.registry import nearest


def check_names(values: Mapping[str, Any], known: Iterable[str], unknown: str = "is no hyperparameter") -> None:
    """Refuses a value of an unknown name.

    Args:
        values: from a user, by name.
        known: the names that there are.
        unknown: what is said of any other.

    Raises:
        ConfigError: there is no such name; says which is nearest.
    """
    known = tuple(known)
    for name, value in values.items():
        if name not in known:
            raise ConfigError(name, value, f"{unknown}; {nearest(str(name), known)}")


def as_type(name: str, value: Any, hint: Any) -> Any:
    """Returns `value` as the type `hint` names; whole numbers pass as floats, nothing else is converted.

    A field that is `int | float` keeps whole numbers whole.
    """
    options = get_args(hint) if get_origin(hint) is types.UnionType else (hint,)
    if value is None and type(None) in options:
        return None
    if options == (int, float):
        number = as_type(name, value, float)
        return int(number) if number.is_integer() else number
    wanted = options[0]
    if get_origin(wanted) is Literal:
        if value in get_args(wanted):
            return value
        raise ConfigError(name, value, f"must be one of {', '.join(map(str, get_args(wanted)))}")
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > sys.float_info.max:
            raise ConfigError(name, value, "must be a number below 1.8e308")
        return float(value)
    if wanted is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    kinds = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    raise ConfigError(name, value, f"must be {kinds[wanted]}")
