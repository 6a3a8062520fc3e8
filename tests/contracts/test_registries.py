"""All registries alike: each entry loads, an unknown name is told the nearest, and other packages can add names."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.contracts.packages import install
from trainable.errors import ConfigError, UserError
from trainable.metrics import METRICS
from trainable.registry import LOSSES, LR_SCHEDULES, MASKINGS, TASKS, TEACHERS, Registry

REGISTRIES: tuple[Registry[Any], ...] = (MASKINGS, LOSSES, LR_SCHEDULES, TEACHERS, METRICS, TASKS)


@pytest.fixture(params=REGISTRIES, ids=lambda registry: registry.kind)
def registry(request: pytest.FixtureRequest) -> Registry[Any]:
    """Each of them."""
    found: Registry[Any] = request.param
    return found


def group_of(registry: Registry[Any]) -> str:
    assert registry.group is not None, "other packages cannot add to it"
    return registry.group


def test_every_entry_loads(registry: Registry[Any]) -> None:
    assert len(registry) == len(list(registry)) == len(dict(registry))
    assert all(thing is not None for thing in registry.values())


def test_an_unknown_name_is_told_the_nearest(registry: Registry[Any]) -> None:
    for name in registry:
        assert name in registry
        with pytest.raises(ConfigError) as caught:
            _ = registry[f"{name}s"]
        assert str(caught.value) == f"{registry.kind} = '{name}s': did you mean '{name}'?"
        with pytest.raises(ConfigError, match=r"^field = "):
            registry.check(f"{name}s", "field")
    with pytest.raises(ConfigError, match=rf"^{registry.kind} = '!': known are "):
        _ = registry["!"]


@pytest.mark.parametrize("name", [None, 3, 0.5, True, ["tube"], {}])
def test_what_is_no_text_is_no_name(registry: Registry[Any], name: Any) -> None:
    assert name not in registry
    with pytest.raises(ConfigError):
        registry.check(name)


def test_it_can_be_asked_like_any_mapping(registry: Registry[Any]) -> None:
    assert registry.get("!") is None
    assert "!" not in registry


def test_another_package_adds_names(registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, module = list(registry), f"adds_a_{registry.kind}"
    install(tmp_path, module, group_of(registry), {"added": f"{module}:THING"}, "THING = 'thing'")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(registry) == [*before, "added"]
    assert registry["added"] == "thing"
    monkeypatch.undo()
    assert list(registry) == before


def test_a_name_of_ours_is_not_replaced(
    registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *_ = registry
    before = registry[name]
    install(tmp_path, "greedy", group_of(registry), {name: "greedy:THING"}, "THING = 'thing'")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry[name] is before
    assert list(registry).count(name) == 1


def test_two_packages_with_one_name_are_told_apart(
    registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("one", "other"):
        install(tmp_path, package, group_of(registry), {"added": f"{package}:THING"})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"'added' is both (one|other):THING and (one|other):THING; uninstall one"):
        _ = registry["added"]


@pytest.mark.parametrize("target", ["nowhere:THING", "broken:THING"])
def test_a_package_that_cannot_be_loaded_is_named(
    registry: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    install(tmp_path, "broken", group_of(registry), {"added": target})
    monkeypatch.syspath_prepend(tmp_path)
    registry.check("added")
    with pytest.raises(ConfigError, match=rf"^{registry.kind} = 'added': cannot be loaded from {target}: "):
        _ = registry["added"]


def test_names_of_ours_are_known_without_looking_for_other_packages() -> None:
    program = "import sys\nfrom trainable.config import TrialConfig\nTrialConfig(masking='tube', loss='l1')\n"
    program += "print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_a_group_other_packages_add_nothing() -> None:
    things: Registry[type] = Registry("error", {"user": "trainable.errors:UserError", "gone": "no.such.module:x"})
    assert list(things) == ["user", "gone"]
    assert things["user"] is UserError
    assert "no.such.module" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        _ = things["gone"]
