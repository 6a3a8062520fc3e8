"""Reads a search-space file: YAML in, a validated `SearchSpace` out, or one line that says what is wrong.

The format is taught in search_spaces/README.md. Every value is tried as a configuration before anything runs, so that
no trial dies of a combination that could have been refused at once.
"""

import re
import reprlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from salt_tune.space import yaml12
from salt_tune.space.checks import check_corners, check_hyperparameters
from salt_tune.space.parameters import Choice, Int, Range
from salt_tune.space.schedule import Schedule
from salt_tune.space.search_space import DEFAULT_TASK, Promotion, SearchSpace, SpaceError
from trainable.errors import ConfigError
from trainable.registry import nearest
from trainable.task import find_task

_SHORT = reprlib.Repr()  # of what stands in a file, which may be long, or hold itself
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


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
    known = _hyperparameters(path, overrides.get("task", content.get("task", DEFAULT_TASK)))
    for key, value in overrides.items():
        content = _override(path, content, key, value, known)
    space = _validated(path, content)
    check_hyperparameters(path, space)
    check_corners(path, space, lambda _: None)
    return space


def reload_space(path: Path) -> SearchSpace:
    """Returns the space of a run that was begun with it.

    Its values are not tried again: the run has trials to show, whatever this version thinks of those to come.

    Raises:
        SpaceError: no such file, not YAML, or an entry that is unknown or impossible.
    """
    return _validated(path, read_yaml(path, "`name` and `parameters`"))


def dump_space(space: SearchSpace) -> str:
    """Returns the file of a space, which reads the same again."""
    return yaml12.dump(space.model_dump(mode="json"))


def _validated(path: Path, content: dict[str, Any]) -> SearchSpace:
    try:
        return SearchSpace.model_validate(content)
    except ValidationError as error:
        raise SpaceError(_explain(path, error)) from error


def read_yaml(path: Path, entries: str) -> dict[str, Any]:
    """Reads the mapping in a YAML file.

    Args:
        path: the file.
        entries: what it should hold, for the error message.

    Raises:
        SpaceError: no such file, not YAML, or no mapping.
    """
    try:
        content = yaml12.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpaceError(f"{path}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path}: not YAML: {error}") from error
    except yaml12.YamlError as error:
        raise SpaceError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise SpaceError(f"{path}: must be a mapping with entries such as {entries}")
    return content


def find_space(name: str) -> Path:
    """Finds the file called `name`, or the one of that name that comes with the package."""
    if (path := Path(name)).is_file():
        return path
    shipped = {
        Path(entry.name).stem: entry for entry in files("search_spaces").iterdir() if entry.name.endswith(".yaml")
    }
    if path.stem == name and name in shipped:
        return Path(str(shipped[name]))
    raise SpaceError(f"{name}: no such search-space file; {nearest(name, tuple(sorted(shipped)))}")


def parse_value(text: str) -> Any:
    """Reads a value as it would stand in a space file.

    Raises:
        SpaceError: not YAML, or a key that stands twice.
    """
    try:
        return yaml12.load(text)
    except yaml12.YamlError as error:
        raise SpaceError(f"--set {text}: {error}") from error


def _hyperparameters(path: Path, task: Any) -> tuple[str, ...]:
    """Returns the names of the hyperparameters of a task."""
    try:
        return tuple(find_task(task).defaults)
    except ConfigError as error:
        raise SpaceError(f"{path}: {error}") from error


def _override(
    path: Path, content: dict[str, Any], key: str, value: Any, hyperparameters: tuple[str, ...]
) -> dict[str, Any]:
    """Returns `content` with one entry replaced; `content` itself stays as it is."""
    first, _, rest = key.partition(".")
    if first in hyperparameters and not rest:
        return _fix(content, first, value)
    if first not in SearchSpace.model_fields:
        raise SpaceError(
            f"{path}: --set {key}: unknown entry; {nearest(first, (*SearchSpace.model_fields, *hyperparameters))}"
        )
    return _replace(path, content, key, key, value)


def _fix(content: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Returns `content` with a hyperparameter fixed: neither searched any more nor named by a point to start from."""

    def without(entries: Any) -> Any:
        if isinstance(entries, list):
            return [without(entry) for entry in entries]
        return {key: entry for key, entry in entries.items() if key != name} if isinstance(entries, dict) else entries

    fixed = _section(content, "fixed")
    freed: dict[str, Any] = {}
    for place in {"parameters", "start_from"} & content.keys():
        freed[place] = without(content[place])
    return {**content, **freed, "fixed": {**fixed, name: value} if isinstance(fixed, dict) else fixed}


def _replace(path: Path, content: dict[str, Any], key: str, within: str, value: Any) -> dict[str, Any]:
    """Returns `content` with the entry replaced that `within`, the rest of the dotted `key`, names."""
    first, _, rest = within.partition(".")
    if not rest:
        return {**content, first: value}
    inner = _section(content, first)
    if not isinstance(inner, dict):
        raise SpaceError(f"{path}: --set {key}: {first!r} has no entries of its own")
    return {**content, first: _replace(path, inner, key, rest, value)}


def _section(content: dict[str, Any], name: str) -> Any:
    """Returns the entries under a name; none where nothing stands behind it."""
    entries = content.get(name)
    return {} if entries is None else entries


def _explain(path: Path, error: ValidationError) -> str:
    """Says the first complaint in one line: file, field, value, and what would be right."""
    first = error.errors()[0]
    tags = {"uniform", "log_uniform", "int", "choice"}
    place = [str(part) for part in first["loc"]]
    # Pydantic puts the tag of a parameter's kind between its name and its entries.
    place = [
        part for number, part in enumerate(place) if not (place[0] == "parameters" and number == 2 and part in tags)
    ]
    place = [part for part in place if part not in ("bool", "int", "float", "str") or len(place) == 1]
    where, value = ".".join(place), first["input"]
    shown = _SHORT.repr(value)
    match first["type"]:
        case "extra_forbidden":
            return f"{path}: {where}: unknown entry; {nearest(place[-1], _siblings(first['loc']))}"
        case "config_error":  # which names the field and its value
            return f"{path}: {where}{first['msg']}"
        case "missing":
            return f"{path}: {where}: is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            kind = value.get("type") if isinstance(value, dict) else value
            return f"{path}: {where}.type = {kind!r}: must be uniform, log_uniform, int or choice"
        case "string_type":
            return f"{path}: {where} = {shown}: must be a text; put it in quotes"
        case "too_short":
            return f"{path}: {where} = []: must name at least one value"
        case "tuple_type":
            return f"{path}: {where} = {shown}: must be a list, such as [{shown}]"
        case "greater_than_equal":
            return f"{path}: {where} = {shown}: must be at least {_bound(first['ctx']['ge'])}"
        case "less_than_equal":
            return f"{path}: {where} = {shown}: must be at most {_bound(first['ctx']['le'])}"
        case "greater_than":
            return f"{path}: {where} = {shown}: must be above {_bound(first['ctx']['gt'])}"
        case "literal_error":
            names = re.findall(r"'([^']+)'", first["ctx"]["expected"])
            return f"{path}: {where} = {shown}: {nearest(str(value), tuple(names))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {where} = {shown}: {message[:1].lower()}{message[1:]}"


def _bound(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _siblings(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Returns the entries that are known where an unknown one stands."""
    models: dict[Any, type[BaseModel]] = {
        "schedule": Schedule,
        "promotion": Promotion,
        "uniform": Range,
        "log_uniform": Range,
        "int": Int,
        "choice": Choice,
    }
    parent = location[-2] if len(location) > 1 else None
    return tuple(models.get(parent, SearchSpace).model_fields)
