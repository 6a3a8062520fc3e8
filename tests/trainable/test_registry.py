"""Things that are chosen by name."""

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from trainable import registry
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


def test_another_package_adds_names_and_cannot_take_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    added = EntryPoints(
        EntryPoint(name, place, "salt_tune.errors")
        for name, place in (("store", "trainable.errors:StoreError"), ("user", "builtins:ValueError"))
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: added.select(group=group))
    things: Registry[type] = Registry("error", PLACES, group="salt_tune.errors")
    assert list(things) == [*PLACES, "store"]
    assert things["store"].__name__ == "StoreError" and things["user"] is UserError
    assert list(Registry("error", PLACES, group="other")) == [*PLACES]
