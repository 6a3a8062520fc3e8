"""What a node says of itself, how that differs from the driver, and nodes that keep killing workers."""

from pathlib import Path
from typing import Any

import pytest

from salt_tune.ray_backend import node_probe
from salt_tune.ray_backend.cluster import PACKAGES, differences
from salt_tune.ray_backend.losses import MOST_IN_A_ROW, Losses
from salt_tune.ray_backend.nodes import ALONE, Node
from salt_tune.resources.allocation import Resources


def answer(folder: Path) -> dict[str, Any]:
    return node_probe.examine(str(folder), "nonce", [*PACKAGES], "n")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs with a nonce."""
    (tmp_path / "nonce").write_text("nonce")
    return tmp_path


def test_a_node_says_what_it_has(runs: Path) -> None:
    said = answer(runs)
    assert said["sees"] and not said["writes"] and said["cores"] > 0
    assert said["memory"] > 0 and said["disk"] > 0
    assert (runs / f"{node_probe.ANSWERS}nnonce").read_text() == "nonce"
    assert said["versions"].keys() == {*PACKAGES} and said["versions"]["torch"].replace(".", "").isdecimal()
    assert all(said["code"].values()) and len({*said["code"].values()}) == 3
    assert differences(said, answer(runs), runs) == []


def test_a_package_that_is_not_there_is_none() -> None:
    assert node_probe._version("no-such-package") is None and node_probe._code("no_such_package") is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"torch": "2.0.0"}, "has torch 2.0.0, and not "),
        ({"salt_tune": None}, "has salt_tune none, and not "),
        ({"python": "3.9.1"}, "has python 3.9.1, and not "),
    ],
)
def test_another_version_is_named(changed: dict[str, Any], words: str, runs: Path) -> None:
    ours, theirs = answer(runs), answer(runs)
    (wrong,) = differences(ours, {**theirs, "versions": {**theirs["versions"], **changed}}, runs)
    assert wrong.startswith(words) and wrong != words


def test_other_code_of_the_same_version_is_named(runs: Path) -> None:
    theirs = answer(runs)
    changed = {**theirs, "code": {**theirs["code"], "trainable": "another"}}
    assert differences(theirs, changed, runs) == ["has other code in trainable"]


def test_a_folder_that_is_not_seen_is_named(runs: Path, tmp_path: Path) -> None:
    ours = answer(runs)
    (runs / "nonce").write_text("another")
    assert differences(ours, answer(runs), runs) == [
        f"does not see {runs}; runs must lie on a disk that all nodes share"
    ]
    assert answer(tmp_path / "absent")["sees"] is False


def node(name: str) -> Node:
    return Node(name, name, Resources(1, 1, 0.0), 1, 0, Path())


def test_a_node_that_keeps_killing_workers_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    losses, a, b = Losses(), node("a"), node("b")
    assert not any(losses.leaves_out(a, trial) for trial in ("T1", "T2", "T2"))
    losses.report(a)
    for trial in ("T1", "T2", "T3"):
        assert not losses.leaves_out(b, "T1"), "it is the trial that dies"
        assert losses.leaves_out(a, trial) is (trial == "T3")
    assert MOST_IN_A_ROW == 3
    assert capsys.readouterr().out == "node a is left out: 3 workers in a row died there (T1, T2, T3)\n"


def test_a_memory_kill_is_counted_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([7, 8, 8, 8])
    monkeypatch.setattr("salt_tune.ray_backend.losses.memory_kills", lambda: next(counts))
    losses, here = Losses(), node(ALONE)
    losses.begin(here)
    assert losses.explain(here, RuntimeError("x")) == "memory"
    assert losses.explain(here, RuntimeError("x")) == "unknown"
    assert losses.explain(here, RuntimeError("killed as the node was low on memory")) == "memory"
