"""Searches from Python: the function and the module of the command are one, in whatever order they are imported."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import salt_tune
from salt_tune import api
from salt_tune.search import main
from tests import toy_task
from tests.conftest import ROOT, complaints
from trainable.errors import UserError

ORDERS = {
    "the package first": "import salt_tune; found = salt_tune.search; import salt_tune.search",
    "the module first": "import salt_tune.search; import salt_tune; found = salt_tune.search",
    "from the package": "from salt_tune import search as found; import salt_tune; from salt_tune.search import main",
    "the function's module first": "import salt_tune.api, salt_tune.search; found = salt_tune.search",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_it_is_module_and_function_in_any_order_of_imports(order: str) -> None:
    program = f"""
import click
{order}
import salt_tune
from salt_tune.search import main
assert found is salt_tune.search and callable(found) and isinstance(main, click.Command)
try:
    salt_tune.search("no such space")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert done.stdout.startswith("SpaceError no such space: no such search-space file; ")


def test_the_signature_is_shown() -> None:
    assert inspect.signature(salt_tune.search) == inspect.signature(api.search)
    assert salt_tune.resume is api.resume
    with pytest.raises(AttributeError, match="has no attribute 'serch'"):
        salt_tune.serch  # noqa: B018


def test_what_it_takes_is_what_the_command_takes() -> None:
    """Each flag of the command is an argument of one of the functions, whatever it is called there."""
    renamed = {"space_name": "space", "wandb_mode": "wandb", "disk_limit": "disk_limit_gb", "seeds": "vary_seeds"}
    flags = {renamed.get(flag.name or "", flag.name) for flag in main.params} - {"detached", "quiet", "json_lines"}
    arguments = {*inspect.signature(api.search).parameters, *inspect.signature(api.resume).parameters}
    assert flags == arguments


def test_a_mistake_is_an_exception_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trials = 0: ") as refused:
        salt_tune.search(trials=0, runs=tmp_path)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="nowhere: there is no such run"):
        salt_tune.resume(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_it_searches_and_goes_on(tmp_path: Path) -> None:
    space = tmp_path / "toy.yaml"
    space.write_text(json.dumps(toy_task.SPACE), encoding="utf-8")
    run = salt_tune.search(
        space, store=tmp_path, runs=tmp_path / "runs", name="few", trials=1, epochs=1, settings={"depth": 2},
        concurrent=1, seed=3, replicates=0,
    )  # fmt: skip
    assert run.path == tmp_path / "runs" / "few"
    assert [trial["id"] for trial in json.loads(run.summary.read_text())["trials"]] == ["T0"]
    again = salt_tune.resume(run, extend=1)
    summary = json.loads(again.summary.read_text())
    assert (again.path, len(summary["trials"]), summary["seed"]) == (run.path, 2, 3)
    assert {trial["config"]["depth"] for trial in summary["trials"]} == {2}
