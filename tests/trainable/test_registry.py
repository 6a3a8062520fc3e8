"""Things that are chosen by name."""

import sys

import pytest

from trainable.errors import ConfigError, UserError
from trainable.registry import Registry, nearest

PLACES = {"user": "trainable.errors:UserError", "config": "trainable.errors:ConfigError", "gone": "no.such.module:x"}


def test_a_thing_is_loaded_when_it_is_asked_for() -> None:
    things: Registry[type] = Registry("error", PLACES)
    assert list(things) == ["user", "config", "gone"] and len(things) == 3
    assert things["user"] is UserError and things["config"] is ConfigError
    assert "no.such.module" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        things["gone"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("usr", "did you mean 'user'?"), ("zzz", "known are user, config, gone"), ("", "known are user, config, gone")],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, reason: str) -> None:
    things: Registry[type] = Registry("error", PLACES)
    assert name not in things
    with pytest.raises(ConfigError) as caught:
        things[name]
    assert str(caught.value) == f"error = {name!r}: {reason}"
    assert nearest(name, tuple(things)) == reason


@pytest.mark.parametrize("name", [None, 3, ["user"]])
def test_what_is_no_name_is_not_known(name: object) -> None:
    assert name not in Registry("error", PLACES)
