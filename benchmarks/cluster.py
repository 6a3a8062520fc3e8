"""`python -m benchmarks.cluster [N] [--final-runs]`: N kills on clusters of one to three nodes, and what is left.

Clusters are made on this machine. Searches of the toy task of the tests run on them; with --final-runs, the winner of
one is promoted instead, on one cluster after the other. At moments drawn uniformly over the time of an undisturbed one,
something is killed (SIGKILL) or stopped for a while (SIGSTOP): a worker, a node's raylet, or the command. A node whose
raylet was killed is started again; a command that was killed goes on by the command that resumes it. Each kind comes
as often as any other.

A search passes if all its trials end complete, and its winner is that of the undisturbed one. Each point must be there
once, with the loss that follows from the trial's values. A final run passes if its reports are the undisturbed one's.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import machine
from benchmarks.made_cluster import MadeCluster
from tests.toy_task import SPACE, ToyTask, report_of

KILLS: Final = 100
EACH: Final = 12  # kills of a search at most
EACH_FINAL: Final = 2  # of a final run
SEED: Final = 0
NODES: Final = (1, 2, 3)
PATIENCE: Final = 600.0  # seconds for one of them
STOPPED: Final = 15.0  # seconds that a stopped process stands; the heartbeat is shorter
HEARTBEAT: Final = 6
KINDS: Final = (
    "worker killed",
    "worker stopped",
    "raylet killed",
    "raylet stopped",
    "command killed",
    "command stopped",
)
OF_A_FINAL_RUN: Final = tuple(
    kind for kind in KINDS if kind != "worker stopped"
)  # Ray Train misses it after 10 minutes
EPOCHS: Final = 4
SEARCH: Final[dict[str, Any]] = {
    **SPACE,
    "parameters": {},
    "start_from": [{"lr": (1 + number) * 1e-3} for number in range(4)],
    "fixed": {"seconds": 16.0},
    "schedule": {"scheduler": "none", "epochs": 1, "reports": 8},
    "trials": 4,
}


@dataclass
class Case:
    """A search or a final run that is disturbed.

    Attributes:
        cluster: on which it runs.
        folder: of its files.
        begin: the words of its command.
        resume: those that go on with it.
        check: says what is wrong with what has come of it.
    """

    cluster: MadeCluster
    folder: Path
    begin: tuple[object, ...]
    resume: tuple[object, ...]
    check: Callable[[], list[str]]

    def start(self, words: tuple[object, ...]) -> "subprocess.Popen[bytes]":
        """Starts its command."""
        environment = {**os.environ, **self.cluster.environment, "PYTHONPATH": str(Path.cwd())}
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", *map(str, words), "--address", self.cluster.address],
                cwd=self.folder, env=environment, stdout=said, stderr=said,
            )  # fmt: skip


class Deck:
    """Draws kinds of disturbances, each as often as any other."""

    def __init__(self, draw: random.Random, kinds: tuple[str, ...]) -> None:
        self._draw, self._kinds, self._left = draw, kinds, list[str]()

    def next(self) -> str:
        """Returns the kind that is next."""
        if not self._left:
            self._left = self._draw.sample(self._kinds, len(self._kinds))
        return self._left[-1]

    def done(self) -> None:
        """Is told that there was something to hit."""
        self._left.pop()


def main() -> None:
    """Measures and writes results/cluster-*.json, anew after each case: a benchmark cut short leaves one too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", type=int, nargs="?", default=KILLS, metavar="N")
    parser.add_argument("--final-runs", action="store_true")
    asked = parser.parse_args()
    draw = random.Random(SEED)  # noqa: S311
    kinds = OF_A_FINAL_RUN if asked.final_runs else KINDS
    deck = Deck(draw, kinds)
    tried: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    moved = 0
    with tempfile.TemporaryDirectory() as shared:
        searched = _search(Path(shared)) if asked.final_runs else None
        for number in count():
            if tried.total() >= asked.kills:
                return
            nodes = NODES[number % len(NODES)]
            with tempfile.TemporaryDirectory() as temporary, MadeCluster() as cluster:
                for node in range(nodes):
                    cluster.add(1 + node)
                case = (
                    _final_run(cluster, Path(temporary), searched) if searched else _searches(cluster, Path(temporary))
                )
                most = min(asked.kills - tried.total(), EACH_FINAL if searched else EACH)
                kills, ended = _disturb(case, draw, deck, most)
                wrong = case.check() if ended else ["does not end"]
                said = (case.folder / "said.txt").read_text(encoding="utf-8")
            name = f"{nodes} node{'s' * (nodes > 1)}"
            print(f"{name}: {dict(kills)}: {'; '.join(wrong) or 'as undisturbed'}", flush=True)
            if wrong:
                print(said, flush=True)
            moved += said.count("moved from node")
            tried, passed = tried + kills, passed + (Counter() if wrong else kills)
            cases += Counter({name: 1, f"{name}, passed": int(not wrong)})
            figures: dict[str, Any] = {"kills and stops": tried.total(), "passed": passed.total()}
            figures |= {f"{kind}, passed": f"{tried[kind]}, {passed[kind]}" for kind in kinds}
            for each in sorted(name for name in cases if not name.endswith("passed")):
                figures[f"{each}: run, passed"] = f"{cases[each]}, {cases[f'{each}, passed']}"
            if not searched:
                figures["times that a trial moved to another node"] = moved
            machine.save("cluster-final-runs" if searched else "cluster", figures)


def _write_space(folder: Path) -> tuple[object, ...]:
    """Writes what is searched; returns the words of the search, in that folder."""
    (folder / "toy.json").write_text(json.dumps(SEARCH), encoding="utf-8")
    (folder / "data").mkdir()
    return ("salt_tune.search", "--space", "toy.json", "--store", folder / "data", "--runs", folder, "--name", "run",
            "--replicates", 0, "--heartbeat", HEARTBEAT)  # fmt: skip


def _search(folder: Path) -> Path:
    """Searches on this machine alone; returns the run."""
    words = [sys.executable, "-m", *map(str, _write_space(folder))]
    subprocess.run(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, check=True)
    return folder / "run"


def _searches(cluster: MadeCluster, folder: Path) -> Case:
    run = folder / "run"
    resume = ("salt_tune.search", "--resume", run, "--heartbeat", HEARTBEAT)
    return Case(cluster, folder, _write_space(folder), resume, lambda: _wrong_search(run))


def _final_run(cluster: MadeCluster, folder: Path, searched: Path) -> Case:
    run = Path(shutil.copytree(searched, folder / "run"))
    words = ("salt_tune.promote", run, "--epochs", EPOCHS)
    return Case(cluster, folder, words, words, lambda: _wrong_final(run))


def _disturb(case: Case, draw: random.Random, deck: Deck, most: int) -> tuple[Counter[str], bool]:
    """Runs a case, and disturbs it on the way; returns how often, by kind, and whether it came to its end."""
    kills: Counter[str] = Counter()
    process = case.start(case.begin)
    until = time.monotonic() + PATIENCE
    while True:
        if time.monotonic() > until:
            process.kill()
            return kills, False
        try:
            code = process.wait(draw.uniform(3, 10) if kills.total() < most else PATIENCE)
        except subprocess.TimeoutExpired:
            if kills.total() < most and _hit(case, process, draw, deck.next()):
                kills[deck.next()] += 1
                deck.done()
            continue
        if code == 0:
            return kills, True
        begun = (case.folder / "run" / "run.json").exists()
        process = case.start(case.resume if begun else case.begin)
        time.sleep(1)


def _hit(case: Case, process: "subprocess.Popen[bytes]", draw: random.Random, kind: str) -> bool:
    """Kills or stops something; tells whether there was something to hit."""
    cluster = case.cluster
    what, how = kind.split()
    node = draw.choice([*cluster.raylets])
    if what == "worker":
        pids = [worker.pid for name in cluster.raylets for worker in cluster.workers(name)]
    else:
        pids = [process.pid if what == "command" else cluster.raylets[node]]
    if not pids:
        return False
    pid = draw.choice(pids)
    try:
        os.kill(pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    except ProcessLookupError:
        return False
    if how == "stopped" and what != "worker":  # a worker that stands is killed by the search
        time.sleep(STOPPED)
        os.kill(pid, signal.SIGCONT)
    _bring_back(cluster)
    return True


def _bring_back(cluster: MadeCluster) -> None:
    """Starts nodes again whose raylets are gone."""
    for name, pid in [*cluster.raylets.items()]:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            cluster.restart(name)


def _wrong_search(run: Path) -> list[str]:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    configs = {trial["id"]: ToyTask("toy").config(trial["config"]) for trial in summary["trials"]}
    reports = _lines(run / "reports.jsonl")
    points = Counter((report["trial"], report["resource"]) for report in reports)
    losses = {(each["trial"], each["resource"]): each["val_loss"] for each in reports}
    expected = {
        (trial, point / 8): report_of(config, point / 8, 1.0, "running")["val_loss"]
        for trial, config in configs.items()
        for point in range(1, 9)
    }
    wrong = {
        "states": [trial["state"] for trial in summary["trials"]] != ["complete"] * 4,
        "trained more than once": any(count > 1 for count in points.values()),
        "losses": losses != expected,
        "winner": summary["best"] != "T0",
    }
    return [what for what, is_wrong in wrong.items() if is_wrong]


def _wrong_final(run: Path) -> list[str]:
    (final,) = (run / "final").iterdir()
    epochs = [report["epoch"] for report in _lines(final / "reports.jsonl")]
    wrong = {"reports": epochs != [n / 8 for n in range(1, 8 * EPOCHS + 1)], "card": not (final / "README.md").exists()}
    return [what for what, is_wrong in wrong.items() if is_wrong]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
