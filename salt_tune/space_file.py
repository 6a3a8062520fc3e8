"""Reads a search-space file: YAML in, a validated `SearchSpace` out, or one line that says what is wrong.

The format is taught in search_spaces/README.md. Every corner of the space is tried as a `TrialConfig` before anything
runs, so that no trial dies of a combination that could have been refused at once.
"""

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from salt_tune.parameters import Choice, Int, Range, Scalar
from salt_tune.schedule import Schedule
from salt_tune.space import EvaluationSpec, Promotion, SearchSpace, SpaceError
from trainable.config import FIELD_NAMES, TrialConfig, nearest
from trainable.errors import ConfigError

# Hyperparameters that a space sets in another place.
ELSEWHERE = {"epochs": "schedule.epochs", "seed": "the flag --seed"}


def load_space(name: str, overrides: Mapping[str, Any]) -> SearchSpace:
    """Reads and validates a space.

    Args:
        name: a file, or the name of one that comes with the package ("demo").
        overrides: entries to replace by their dotted name ("schedule.epochs", "parameters.lr.low"); the bare name of a
            hyperparameter fixes it.

    Raises:
        SpaceError: no such file, not YAML, or an entry that is unknown or impossible.
    """
    path = find_space(name)
    content = read_yaml(path, "`name` and `parameters`")
    for key, value in overrides.items():
        content = _override(path, content, key, value)
    try:
        space = SearchSpace.model_validate(content)
    except ValidationError as error:
        raise SpaceError(_explain(path, error)) from error
    _check_hyperparameters(path, space)
    return space


def read_yaml(path: Path, entries: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: the file.
        entries: what it should hold, for the error message.

    Raises:
        SpaceError: no such file, not YAML, or no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml12)  # noqa: S506 - a SafeLoader
    except FileNotFoundError as error:
        raise SpaceError(f"{path}: there is no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpaceError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SpaceError(f"{path}: must be a mapping with entries such as {entries}")
    return content


def find_space(name: str) -> Path:
    """The file called `name`, or the one of that name that comes with the package."""
    if (path := Path(name)).is_file():
        return path
    shipped = {
        Path(entry.name).stem: entry for entry in files("search_spaces").iterdir() if entry.name.endswith(".yaml")
    }
    if path.stem == name and name in shipped:
        return Path(str(shipped[name]))
    raise SpaceError(f"{name}: no such search-space file; {nearest(name, tuple(sorted(shipped)))}")


def parse_value(text: str) -> Any:
    """A value as it would stand in a space file.

    Raises:
        SpaceError: not YAML.
    """
    try:
        return yaml.load(text, Loader=_Yaml12)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise SpaceError(f"--set {text}: not a YAML value") from error


class _Yaml12(yaml.SafeLoader):
    """Reads 3e-4 as a number, as YAML 1.2 does; PyYAML's 1.1 wants 3.0e-4 and makes a text of it otherwise."""


_Yaml12.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _override(path: Path, content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`content` with one entry replaced; `content` itself stays as it is."""
    first, _, rest = key.partition(".")
    if first in FIELD_NAMES and not rest:
        return _fix(content, first, value)
    if first not in SearchSpace.model_fields:
        raise SpaceError(
            f"{path}: --set {key}: unknown entry; {nearest(first, (*SearchSpace.model_fields, *FIELD_NAMES))}"
        )
    return _replace(path, content, key, key, value)


def _fix(content: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """`content` with a hyperparameter fixed: neither searched any more nor named by a point to start from."""

    def without(entries: Any) -> Any:
        if isinstance(entries, list):
            return [without(entry) for entry in entries]
        return {key: entry for key, entry in entries.items() if key != name} if isinstance(entries, dict) else entries

    fixed = content.get("fixed", {})
    freed: dict[str, Any] = {}
    for place in {"parameters", "start_from"} & content.keys():
        freed[place] = without(content[place])
    return {**content, **freed, "fixed": {**fixed, name: value} if isinstance(fixed, dict) else fixed}


def _replace(path: Path, content: dict[str, Any], key: str, within: str, value: Any) -> dict[str, Any]:
    """`content` with the entry replaced that `within`, the rest of the dotted `key`, names."""
    first, _, rest = within.partition(".")
    if not rest:
        return {**content, first: value}
    inner = content.get(first, {})
    if not isinstance(inner, dict):
        raise SpaceError(f"{path}: --set {key}: {first!r} has no entries of its own")
    return {**content, first: _replace(path, inner, key, rest, value)}


def _explain(path: Path, error: ValidationError) -> str:
    """The first complaint as one line: file, field, value, and what would be right."""
    first = error.errors()[0]
    tags = {"uniform", "log_uniform", "int", "choice"}
    place = [str(part) for part in first["loc"]]
    # Pydantic puts the tag of a parameter's kind between its name and its entries.
    place = [
        part for number, part in enumerate(place) if not (place[0] == "parameters" and number == 2 and part in tags)
    ]
    place = [part for part in place if part not in ("bool", "int", "float", "str") or len(place) == 1]
    where, value = ".".join(place), first["input"]
    match first["type"]:
        case "extra_forbidden":
            return f"{path}: {where}: unknown entry; {nearest(place[-1], _siblings(first['loc']))}"
        case "missing":
            return f"{path}: {where}: is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            kind = value.get("type") if isinstance(value, dict) else value
            return f"{path}: {where}.type = {kind!r}: must be uniform, log_uniform, int or choice"
        case "too_short":
            return f"{path}: {where} = []: must name at least one value"
        case "tuple_type":
            return f"{path}: {where} = {value!r}: must be a list, such as [{value!r}]"
        case "greater_than_equal":
            return f"{path}: {where} = {value!r}: must be at least {first['ctx']['ge']:g}"
        case "less_than_equal":
            return f"{path}: {where} = {value!r}: must be at most {first['ctx']['le']:g}"
        case "greater_than":
            return f"{path}: {where} = {value!r}: must be above {first['ctx']['gt']:g}"
        case "literal_error":
            names = re.findall(r"'([^']+)'", first["ctx"]["expected"])
            return f"{path}: {where} = {value!r}: {nearest(str(value), tuple(names))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {where} = {value!r}: {message[:1].lower()}{message[1:]}"


def _siblings(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The entries that are known where an unknown one stands."""
    models: dict[Any, type[BaseModel]] = {
        "schedule": Schedule,
        "evaluation": EvaluationSpec,
        "promotion": Promotion,
        "uniform": Range,
        "log_uniform": Range,
        "int": Int,
        "choice": Choice,
    }
    parent = location[-2] if len(location) > 1 else None
    return tuple(models.get(parent, SearchSpace).model_fields)


def _check_hyperparameters(path: Path, space: SearchSpace) -> None:
    places: list[tuple[str, Mapping[str, Any]]] = [("fixed", space.fixed), ("parameters", space.parameters)]
    places += [(f"start_from[{number}]", point) for number, point in enumerate(space.start_from)]
    for place, entries in places:
        for name in entries:
            if name in ELSEWHERE:
                raise SpaceError(f"{path}: {place}.{name}: is set by {ELSEWHERE[name]}")
            if name not in FIELD_NAMES:
                raise SpaceError(f"{path}: {place}.{name}: unknown hyperparameter; {nearest(name, FIELD_NAMES)}")
    for name, parameter in space.parameters.items():
        if name in space.fixed and not parameter.when:
            raise SpaceError(f"{path}: parameters.{name}: stands under fixed too; keep one of the two")
    _check_conditions(path, space)
    if not space.parameters and len(space.start_from) < space.trials:
        raise SpaceError(
            f"{path}: trials = {space.trials}: there are no parameters to draw and only "
            f"{len(space.start_from)} points in start_from"
        )
    check_corners(path, space, lambda _: None)


def _check_conditions(path: Path, space: SearchSpace) -> None:
    for name, parameter in space.parameters.items():
        for other, allowed in parameter.when.items():
            if complaint := _about_condition(space, name, other, allowed):
                raise SpaceError(f"{path}: parameters.{name}.when.{other}{complaint}")
            for number, point in enumerate(space.start_from):
                known = other in point or other not in space.parameters  # otherwise it is drawn
                value = point.get(other, space.constant(other))
                if name in point and known and value not in allowed:
                    raise SpaceError(
                        f"{path}: start_from[{number}].{name} = {point[name]!r}: is set only where {other} is "
                        f"{_either(allowed)}, and here it is {value!r}"
                    )


def _about_condition(space: SearchSpace, name: str, other: str, allowed: tuple[Scalar, ...]) -> str | None:
    """What is wrong with the condition that parameter `name` is set where `other` has one of the `allowed` values."""
    if other not in FIELD_NAMES:
        return f": unknown hyperparameter; {nearest(other, FIELD_NAMES)}"
    if other in ELSEWHERE:
        return f": is set by {ELSEWHERE[other]}, the same in all trials"
    condition = space.parameters.get(other)
    if condition is None:
        values = [space.constant(other), *(point[other] for point in space.start_from if other in point)]
        if not any(value in allowed for value in values):
            return f" = {_either(allowed)}: never holds, {other} is {' or '.join(dict.fromkeys(map(repr, values)))}"
        return None
    names = [*space.parameters]
    if names.index(other) >= names.index(name):
        return f": must stand before {name} under parameters" if other != name else ": is the parameter itself"
    if isinstance(condition, Range):
        return f" = {_either(allowed)}: {other} is drawn from a range; only an int or a choice can be a condition"
    never = [value for value in allowed if not condition.can_be(value)]
    return f" = {never[0]!r}: is no value that parameters.{other} can take" if never else None


def _either(values: tuple[Scalar, ...]) -> str:
    return " or ".join(map(repr, values))


def check_corners(path: Path, space: SearchSpace, check: Callable[[TrialConfig], None]) -> None:
    """Runs `check` on the configuration of every corner.

    Raises:
        SpaceError: a corner is no valid configuration, or `check` raises a `ConfigError` for it.
    """
    for place, values in space.corners():
        try:
            check(space.config(values, seed=0))
        except ConfigError as error:
            given = {"parameters": space.parameters}.get(place, values)
            where = place if error.field in given else "fixed" if error.field in space.fixed else "default"
            raise SpaceError(f"{path}: {where}.{error}") from error
