"""YAML as version 1.2 has it (its core schema), where no key stands twice, and what is written is read as it was.

PyYAML reads version 1.1, in which 010 is eight, 1:30 is ninety, yes is true and 3e-4 a text. Of a key that stands
twice, it takes the last without a warning.
"""

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

TAG = "tag:yaml.org,2002:"
MOST_DIGITS = 100  # of a whole number

NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
MERGE = re.compile(r"^<<$")  # no part of 1.2, but of what people write

RESOLVERS = {
    "null": (NULL, ["~", "n", "N", ""]),
    "bool": (BOOL, list("tTfF")),
    "int": (INT, list("-+0123456789")),
    "float": (FLOAT, list("-+.0123456789")),
    "merge": (MERGE, ["<"]),
}


class YamlError(ValueError):
    """A text that is not YAML, or names a key twice; one line."""


def load(text: str) -> Any:
    """Returns the value that a text holds.

    Raises:
        YamlError: it holds none, or a mapping in it has a key twice.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        for complaint in _repeated(node, (), set()):
            raise YamlError(complaint)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"not YAML: {_at(error)}") from error
    except yaml.YAMLError as error:
        raise YamlError(f"not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise YamlError("not YAML that can be read: nested too deeply") from error


def dump(value: Any) -> str:
    """Returns a text that holds the value; other readers of YAML, of version 1.1 too, find the same in it."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=math.inf)


class _Loader(yaml.SafeLoader):
    """Knows the tags of the core schema and no others."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML declares it
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        None: yaml.SafeLoader.construct_undefined,
        **{f"{TAG}{kind}": yaml.SafeLoader.yaml_constructors[f"{TAG}{kind}"] for kind in ("str", "seq", "map")},
    }


class _Dumper(yaml.SafeDumper):
    """Quotes texts that either version of YAML would take for something else."""


for _kind, (_pattern, _first) in RESOLVERS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_kind}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"{TAG}{_kind}", _pattern, _first)


def _constructor(kind: str, convert: Any) -> None:
    """Teaches the loader a kind of scalar."""
    pattern = RESOLVERS[kind][0]

    def construct(loader: _Loader, node: yaml.ScalarNode) -> Any:
        text = loader.construct_scalar(node)
        if not pattern.match(text):  # under a tag, such as !!int
            raise yaml.constructor.ConstructorError(None, None, f"{text!r} is no {kind}", node.start_mark)
        if kind == "int" and (digits := len(text.lstrip("+-"))) > MOST_DIGITS:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {digits} digits, and at most {MOST_DIGITS} can be read", node.start_mark
            )
        return convert(text)

    _Loader.add_constructor(f"{TAG}{kind}", construct)


def _whole(text: str) -> int:
    """Reads a whole number; leading zeros mean nothing: 010 is ten."""
    bases = {"0o": 8, "0x": 16}
    return int(text[2:], bases[text[:2]]) if text[:2] in bases else int(text)


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_constructor("null", lambda _: None)
_constructor("bool", lambda text: text.lower() == "true")
_constructor("int", _whole)
_constructor("float", _number)


def _repeated(node: yaml.Node, place: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Yields complaints about keys that stand more than once in a mapping."""
    if id(node) in seen:  # an alias; it may hold itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, entry in enumerate(node.value):
            yield from _repeated(entry, (*place[:-1], f"{place[-1] if place else ''}[{number}]"), seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], list[int]] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
        for (_, name), found in lines.items():
            if len(found) > 1:
                yield f"{'.'.join((*place, name))} stands {_times(found)}"
        for key, value in node.value:
            yield from _repeated(value, (*place, str(key.value)), seen)


def _times(lines: list[int]) -> str:
    """Says how often a key stands in a mapping, and in which lines."""
    often = "twice" if len(lines) == 2 else f"{len(lines)} times"
    *others, last = (str(line) for line, _ in itertools.groupby(lines))
    return f"{often} (lines {', '.join(others)} and {last})" if others else f"{often} (line {last})"


def _at(error: yaml.MarkedYAMLError) -> str:
    """Says what is wrong, and where."""
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = error.problem or error.context or ""
    return f"{where}{error.context}, {problem}" if problem.startswith("but ") else f"{where}{problem}"
