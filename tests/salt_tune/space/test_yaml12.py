"""YAML 1.2's core schema: what texts mean, and that what is written is read as it was, also by others."""

import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from salt_tune.space.yaml12 import YamlError, dump, load

MEANS: list[tuple[str, Any]] = [
    ("010", 10),
    ("0o10", 8),
    ("0x1F", 31),
    ("+7", 7),
    ("-0", 0),
    ("1:30", "1:30"),
    ("1_000", "1_000"),
    ("yes", "yes"),
    ("No", "No"),
    ("on", "on"),
    ("off", "off"),
    ("true", True),
    ("FALSE", False),
    ("3e-4", 3e-4),
    ("2E3", 2000.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("1.e+2", 100.0),
    ("-.inf", -math.inf),
    (".INF", math.inf),
    ("1e999", math.inf),
    ("inf", "inf"),
    ("nan", "nan"),
    ("~", None),
    ("Null", None),
    ("", None),
    ("'3'", "3"),
    ("2020-01-01", "2020-01-01"),
    ("=", "="),
    ("e5", "e5"),
    (".", "."),
    ("-", [None]),
    ("{a: &x {b: 1}, c: {<<: *x, d: 2}}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
]


@pytest.mark.parametrize(("text", "value"), MEANS)
def test_what_a_text_means(text: str, value: Any) -> None:
    assert load(text) == value
    assert type(load(text)) is type(value)


def test_no_number() -> None:
    assert math.isnan(load(".nan"))


LOOKALIKES = st.from_regex(r"[-+]?[0-9_:.]{0,6}([eE][-+]?[0-9]{1,3})?|0[ox][0-9a-f]{1,4}|<<|=|~", fullmatch=True)
WORDS = st.sampled_from(
    ["yes", "No", "ON", "off", "y", "n", "true", "null", ".inf", ".nan", "2020-01-01", "---", "- a"]
)
SCALARS = st.text() | LOOKALIKES | WORDS | st.none() | st.booleans() | st.integers(-(10**99), 10**99) | st.floats()


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or one != one)


@given(value=SCALARS)
@example(-(10**99))
@example("3e-4")
@example("5e1")
@example("1e5")
@example("2E3")
@example("1:30")
@example("a\u2028b\x85c\ufeff")
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    text = dump({"name": value, "list": [value]})
    for read in (load, yaml.safe_load):
        found = read(text)
        assert same(found["name"], value) and same(found["list"][0], value)


@given(key=st.text())
def test_a_key_too(key: str) -> None:
    assert load(dump({key: 1})) == {key: 1}


def test_a_key_that_stands_twice_is_named_with_its_lines() -> None:
    with pytest.raises(YamlError, match=r"^a\.b\[1\]\.c stands twice \(lines 4 and 5\)$"):
        load("a:\n  b:\n  - 1\n  - c: 1\n    c: 2\n")


def test_what_a_merge_brings_in_may_be_replaced() -> None:
    assert load("base: &x {a: 1}\nmine: {<<: *x, a: 2}\n")["mine"] == {"a": 2}
