"""Searches and promotions on clusters of several nodes, made on this machine; all slow but what starts none."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made_cluster import MadeCluster, may_mount
from benchmarks.made_network import MadeNetwork
from tests.conftest import SMALL_SPACE, complaints, start_command
from tests.salt_tune.conftest import MINUTES, Ended, read_json, read_reports, wait_for
from tests.toy_task import SPACE, ToyTask, report_of
from trainable.data.store.clip_store import ClipStore

pytestmark = pytest.mark.slow

POINTS = [{"lr": (1 + number) * 1e-3} for number in range(4)]


@pytest.fixture(scope="module")
def head() -> Iterator[MadeCluster]:
    """A cluster without nodes that train."""
    with MadeCluster() as made:
        yield made


@pytest.fixture
def cluster(head: MadeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeCluster]:
    """The same, whose nodes go at the end of the test; the commands of the test are let in."""
    for name, value in head.environment.items():
        monkeypatch.setenv(name, value)
    yield head
    head.remove(*head.raylets)


def write_space(folder: Path, seconds: float = 2.0, **entries: Any) -> tuple[object, ...]:
    """A space of four trials that go to their ends; returns the flags of a search of it."""
    schedule = {"scheduler": "none", "epochs": 1, "reports": 8}
    space = {**SPACE, "parameters": {}, "start_from": POINTS, "trials": 4, "fixed": {"seconds": seconds},
             "schedule": schedule, **entries}  # fmt: skip
    (folder / "toy.json").write_text(json.dumps(space), encoding="utf-8")
    (folder / "data").mkdir(exist_ok=True)
    return "--space", folder / "toy.json", "--store", folder / "data"


def check_undisturbed(run: Path) -> list[dict[str, Any]]:
    """Checks that all trials came to their ends, each point once, with the losses that follow from their values."""
    summary, reports = read_json(run / "summary.json"), read_reports(run / "reports.jsonl")
    assert [trial["state"] for trial in summary["trials"]] == ["complete"] * 4
    configs = {trial["id"]: ToyTask("toy").config(trial["config"]) for trial in summary["trials"]}
    found = {(report["trial"], report["resource"]): report["val_loss"] for report in reports}
    assert len(found) == len(reports) == 4 * 8
    for (trial, resource), loss in found.items():
        assert loss == report_of(configs[trial], resource, 1.0, "running")["val_loss"]
    assert summary["best"] == "T0"
    assert not [*run.parent.glob(".salt-tune-nonce*"), *run.parent.glob(".node-*"), *run.glob(".workers")]
    return reports


@pytest.mark.skipif(not may_mount(), reason="needs mount namespaces")
def test_nodes_that_differ_are_left_out_and_the_others_have_copies(cluster: MadeCluster, tmp_path: Path) -> None:
    flags = write_space(tmp_path)
    for name in ("other", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "mark").write_text("another")
    (tmp_path / "data" / "clip").write_bytes(b"pixels")
    (tmp_path / "runs").mkdir()
    cluster.add(1, cpus=2)
    cluster.add(2, hides={tmp_path / "data": tmp_path / "other"})
    cluster.add(3, hides={tmp_path / "runs": tmp_path / "elsewhere"})
    ended = run_search(tmp_path, *flags, "--address", "auto", "--store-copy", tmp_path / "disk", cluster=cluster)
    assert (ended.exit_code, complaints(ended.errors)) == (0, ""), ended.output
    lines = ended.output.splitlines()
    wrong = f"{tmp_path / 'data'}: is another store: mark = 'another', and '' for the search"
    assert f"node b is left out: it cannot open the data: {wrong}" in lines
    runs = tmp_path / "runs"
    assert f"node c is left out: it does not see {runs}; runs must lie on a disk that all nodes share" in lines
    (told,) = [line for line in lines if line.startswith("node a: ")]
    assert told.startswith("node a: 2 cores; ") and " of memory and " in told
    reports = check_undisturbed(ended.path)
    assert {report["node"] for report in reports} == {"a"} and {report["slot"] for report in reports} == {0, 1}
    assert [each["name"] for each in read_json(ended.path / "run.json")["resources"]["nodes"]] == ["a"]
    (copy,) = (tmp_path / "disk").glob("data-*")
    assert (copy / "clip").read_bytes() == b"pixels"


def test_what_no_node_can_do_is_a_line(cluster: MadeCluster, tmp_path: Path) -> None:
    flags = write_space(tmp_path)
    without = run_search(tmp_path, *flags, cluster=cluster)
    where = f"error: --address = {cluster.address}: no node can train: "
    assert (without.exit_code, without.errors) == (2, f"{where}none offers a CPU\n")
    cluster.add(1)
    ended = run_search(tmp_path, *flags, "--gpus-per-trial", 1, cluster=cluster)
    assert ended.exit_code == 2
    assert ended.errors == (
        f"{where}a does not fit: --gpus-per-trial = 1: this machine has none; leave it out to use what is there\n"
    )
    assert not (tmp_path / "runs" / "run").exists()


def test_the_trials_of_a_node_that_dies_move(cluster: MadeCluster, tmp_path: Path) -> None:
    """Another node comes meanwhile, and takes part."""
    flags = write_space(tmp_path, seconds=12.0)
    for number in (1, 2):
        cluster.add(number)
    process = begin(tmp_path, *flags, cluster=cluster)
    reports = tmp_path / "runs" / "run" / "reports.jsonl"
    wait_for(lambda: {report["node"] for report in read_reports(reports)} == {"a", "b"}, process)
    lost = next(report["trial"] for report in reversed(read_reports(reports)) if report["node"] == "b")
    cluster.remove("b")
    cluster.add(3)
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (0, ""), output
    (moved,) = [line.partition("  ")[2] for line in output.splitlines() if "moved from node" in line]  # after the time
    assert moved.startswith(f"{lost}   node b died: moved from node b to node ")
    assert "; goes on from 0." in moved and moved.endswith(" epochs in a new process")
    assert "1 trial moved from one node to another" in output.splitlines()
    assert "node c has come" in output.splitlines()
    assert {report["node"] for report in check_undisturbed(tmp_path / "runs" / "run")} == {"a", "b", "c"}


def test_what_pays_is_measured_on_a_node_with_its_copy_of_a_store(
    cluster: MadeCluster, store_path: Path, tmp_path: Path
) -> None:
    cluster.add(1, cpus=2)
    settings = [part for setting in SMALL_SPACE for part in ("--set", setting)]
    flags = ("--store", store_path, "--store-copy", tmp_path / "disk", "--concurrent", "auto")
    ended = run_search(tmp_path, *flags, *settings, "--trials", 2, "--epochs", 1, cluster=cluster)
    assert (ended.exit_code, complaints(ended.errors)) == (0, ""), ended.output
    (copy,) = (tmp_path / "disk").glob(f"{store_path.name}-*")
    assert ClipStore.open(copy).manifest["fingerprint"] == ClipStore.open(store_path).manifest["fingerprint"]
    told = [line for line in ended.output.splitlines() if line.startswith("node a: ")]
    assert len(told) == 2 and "at a time" in told[1], ended.output
    assert {report["node"] for report in read_reports(ended.path / "reports.jsonl")} == {"a"}


@pytest.fixture
def network() -> Iterator[MadeNetwork]:
    """A second network, for a node that can be cut off."""
    try:
        with MadeNetwork() as made:
            yield made
    except PermissionError as error:
        pytest.skip(str(error))


def test_a_node_that_is_cut_off_and_comes_back_loses_nothing(
    network: MadeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What trains there goes on until its report, and writes it; the other node trains the same."""
    flags = write_space(tmp_path, seconds=60.0)
    with MadeCluster(head=network.ours) as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        cluster.add(1)
        cluster.add(2, netns=network.name, address=network.theirs)
        process = begin(tmp_path, *flags, cluster=cluster)
        reports = tmp_path / "runs" / "run" / "reports.jsonl"
        wait_for(lambda: {report["node"] for report in read_reports(reports)} == {"a", "b"}, process)
        network.cut()
        output = ""
        assert process.stdout is not None
        while "moved from node b to node a" not in output:
            output += process.stdout.readline()
        network.heal()
        cluster.restart("b")
        rest, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (0, ""), output + rest
    assert "node b has come" in rest.splitlines()
    assert check_undisturbed(tmp_path / "runs" / "run")[-1]["node"] in {"a", "b"}


def test_a_node_that_keeps_killing_workers_is_left_out(cluster: MadeCluster, tmp_path: Path) -> None:
    flags = write_space(tmp_path, seconds=16.0)
    for number in (1, 2):
        cluster.add(number, cpus=3 if number == 2 else 1)
    process = begin(tmp_path, *flags, cluster=cluster)
    wait_for(lambda: len(cluster.workers("b")) == 3, process)
    reports = tmp_path / "runs" / "run" / "reports.jsonl"
    wait_for(lambda: len({(each["node"], each["slot"]) for each in read_reports(reports)}) == 4, process)
    for worker in cluster.workers("b"):
        worker.kill()
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (0, ""), output
    lines = [line for line in output.splitlines() if " is left out: " in line]
    assert len(lines) == 1, output
    (line,) = lines
    assert line.startswith("node b is left out: 3 workers in a row died there (T")
    assert {report["node"] for report in check_undisturbed(tmp_path / "runs" / "run")[-8:]} == {"a"}


def test_a_worker_of_another_node_that_hangs_is_killed_there(cluster: MadeCluster, tmp_path: Path) -> None:
    flags = write_space(tmp_path, seconds=6.0)
    cluster.add(1)
    process = begin(tmp_path, *flags, "--heartbeat", 5, cluster=cluster)
    reports = tmp_path / "runs" / "run" / "reports.jsonl"
    wait_for(lambda: len(read_reports(reports)) > 2, process)
    (worker,) = cluster.workers("a")
    os.kill(worker.pid, signal.SIGSTOP)
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (0, ""), output
    assert "gave no sign of life for" in output
    check_undisturbed(tmp_path / "runs" / "run")


KILLS: dict[str, Callable[[MadeCluster], None]] = {
    "head": MadeCluster.kill_head,
    "raylet": lambda cluster: os.kill(cluster.head, signal.SIGKILL),  # the command is a driver of the head's node
}
SAID = {"head": "the head of the cluster does not answer any more", "raylet": "Ray on this machine has died"}


@pytest.mark.parametrize("dies", KILLS)
def test_where_the_cluster_dies_a_line_says_how_to_go_on(
    dies: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on on another cluster, with as many trials at a time, or on this machine; nothing is lost."""
    run = tmp_path / "runs" / "run"
    with MadeCluster() as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        cluster.add(1, cpus=3)
        process = begin(tmp_path, *write_space(tmp_path, seconds=12.0), "--concurrent", 2, cluster=cluster)
        wait_for(lambda: len(read_reports(run / "reports.jsonl")) > 2, process)
        KILLS[dies](cluster)
        output, errors = process.communicate(timeout=MINUTES)
        address = cluster.address
    then = "start Ray again, then resume the search"
    said = f"error: --address = {address}: {SAID[dies]}; {then}\n"
    assert (process.returncode, complaints(errors)) == (2, said), output
    assert f"Not finished. To go on: python -m salt_tune.search --resume {run}" in output.splitlines()
    before = read_reports(run / "reports.jsonl")
    with MadeCluster() as another:
        another.add(1, cpus=3)
        where = ("--address", another.address) if dies == "head" else ()
        again = start_command(tmp_path, "search", "--resume", run, *where, env=another.environment)
        output, errors = again.communicate(timeout=MINUTES)
    assert (again.returncode, complaints(errors)) == (0, ""), output
    assert ", 2 at a time\n" in output
    assert check_undisturbed(run)[: len(before)] == before


def test_a_winner_is_promoted_on_a_cluster(cluster: MadeCluster, mixed_run: Ended, tmp_path: Path) -> None:
    run = shutil.copytree(mixed_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("final"))
    cluster.add(1)
    process = start_command(
        tmp_path, "promote", run, "--epochs", 4, "--address", cluster.address, env=cluster.environment
    )
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (0, ""), output
    assert "node a: 1 core; " in output
    final = run / "final" / f"{mixed_run.summary['best']}-4epochs"
    assert [report["epoch"] for report in read_reports(final / "reports.jsonl")] == [0.25 * n for n in range(1, 17)]
    assert not [*final.glob(".ray-train-*"), *final.glob(".node-*"), *final.glob(".salt-tune-nonce-*")]
    assert (final / "README.md").exists()


def test_where_the_head_of_a_final_run_dies_the_same_command_goes_on_elsewhere(
    mixed_run: Ended, tmp_path: Path
) -> None:
    run = shutil.copytree(mixed_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("final"))
    summary = read_json(run / "summary.json")
    for trial in summary["trials"]:
        trial["config"]["seconds"] = 24.0
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    final = run / "final" / f"{summary['best']}-4epochs"
    words = ("promote", run, "--epochs", 4)
    with MadeCluster() as cluster:
        cluster.add(1)
        process = start_command(tmp_path, *words, "--address", cluster.address, env=cluster.environment)
        wait_for(lambda: len(read_reports(final / "reports.jsonl")) > 2, process)
        cluster.kill_head()
        output, errors = process.communicate(timeout=MINUTES)
        address = cluster.address
    then = "start Ray again, then run the same command again"
    assert process.returncode == 2, errors
    assert complaints(errors) == f"error: --address = {address}: {SAID['head']}; {then}\n"
    before = read_reports(final / "reports.jsonl")
    with MadeCluster() as another:
        another.add(1)
        again = start_command(tmp_path, *words, "--address", another.address, env=another.environment)
        output, errors = again.communicate(timeout=MINUTES)
    assert (again.returncode, complaints(errors)) == (0, ""), output
    reports = read_reports(final / "reports.jsonl")
    assert reports[: len(before)] == before
    assert [report["epoch"] for report in reports] == [0.25 * n for n in range(1, 17)]
    assert (final / "README.md").exists()


def begin(folder: Path, *flags: object, cluster: MadeCluster) -> "subprocess.Popen[str]":
    """Starts a search on a cluster."""
    words = ("--replicates", 0, "--runs", folder / "runs", "--name", "run")
    address = () if "--address" in flags else ("--address", cluster.address)
    return start_command(folder, "search", *words, *flags, *address, env=cluster.environment)


def run_search(folder: Path, *flags: object, cluster: MadeCluster) -> Ended:
    """Runs a search on a cluster to its end."""
    process = begin(folder, *flags, cluster=cluster)
    output, errors = process.communicate(timeout=MINUTES)
    return Ended(folder / "runs" / "run", process.returncode, output, errors)
