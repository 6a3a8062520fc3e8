"""A search on a cluster: each node is asked whether it can train what the driver would, before the first trial."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from analysis.run_directory.reports import natural
from salt_tune.ray_backend import node_probe
from salt_tune.ray_backend.cluster_address import answers
from salt_tune.ray_backend.cluster_watch import ClusterWatch
from salt_tune.ray_backend.data_copies import open_on_node
from salt_tune.ray_backend.nodes import Concurrent, Node, Nodes, remote_on, sent_as_code
from salt_tune.resources.allocation import share_out
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size, counted
from salt_tune.ui.full_disk import RESUME
from trainable.errors import UserError
from trainable.task import Task
from trainable.worker import Dataset

PACKAGES: Final = ("python", "ray", "torch", "timm", "salt_tune")  # versions that must be the driver's
ANSWER_SECONDS: Final = 120.0  # for a process to start on a node, and look at disks
LOOK_SECONDS: Final = 5.0  # between looks for nodes that have come
NONCE: Final = ".salt-tune-nonce-"
Row = Mapping[str, Any]  # of Ray's table of nodes


@dataclass(frozen=True)
class Cluster:
    """A Ray that others have started; see `salt_tune.ray_backend.nodes.Place`.

    Attributes:
        address: HOST:PORT of its head, see `find_cluster`.
        concurrent: trials at a time on each node; None, and "auto" before it is measured: one a GPU, or one a core
            and at most 4.
        gpus_per_trial: None: all GPUs of a node, shared evenly.
        copies: folder on each node's own disk that the dataset is copied to; None: all read the same.
        then: what goes on where the cluster has died, and was started again.
    """

    address: str
    concurrent: Concurrent = None
    gpus_per_trial: float | None = None
    copies: Path | None = None
    then: str = RESUME

    @contextmanager
    def session(self, folder: Path, task: Task, data: Dataset) -> Iterator[Nodes]:
        """Connects, and asks each node; see `Place`."""
        import ray

        self._connect()
        try:
            nonce = f"{NONCE}{secrets.token_hex(8)}"
            (folder / nonce).write_text(nonce, encoding="utf-8")
            watch = ClusterWatch(self.address, ray.get_runtime_context().get_node_id(), self.then)
            try:
                roll = Roll(self, folder.absolute(), nonce, task, data)
                with watch.watching():
                    yield Nodes(roll.call(), roll.look, watch.check)
            finally:
                for file in (folder / nonce, *folder.glob(f"{node_probe.ANSWERS}*{nonce}")):
                    file.unlink(missing_ok=True)
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        """Makes this process a driver of the cluster.

        Raises:
            UserError: this machine is none of its nodes, or versions differ.
        """
        import ray

        try:
            ray.init(address=self.address, log_to_driver=False, logging_level="error", configure_logging=True)
        except (OSError, RuntimeError, ray.exceptions.RayError) as error:
            ray.shutdown()
            why = " ".join(str(error).split())
            if "No node info found" in why or "can not find" in why or "Raylet" in why:
                why = f"this machine is none of its nodes; join it: ray start --address {self.address} --num-cpus 0"
            raise UserError(f"--address = {self.address}: {why}") from error


@dataclass
class Roll:
    """Calls the roll of a cluster: which nodes there are, and which of them can train.

    Args:
        cluster: what is asked for.
        folder: of runs.
        nonce: name of a file in it.
        task: what is trained.
        data: on what.
    """

    cluster: Cluster
    folder: Path
    nonce: str
    task: Task
    data: Dataset
    _known: set[str] = field(default_factory=set)  # ids of nodes that have been asked
    _asked: dict[str, tuple[Row, Any]] = field(default_factory=dict)  # answers that are to come
    _opening: dict[str, tuple[Node, Any]] = field(default_factory=dict)  # datasets that are being opened
    _left_out: dict[str, str] = field(default_factory=dict)  # why, by name
    _needs_gpu: bool = False
    _next_look: float = 0.0

    def __post_init__(self) -> None:
        self._ours = node_probe.examine(str(self.folder), self.nonce, [*PACKAGES], "driver")

    def call(self) -> list[Node]:
        """Asks all nodes, and waits for them.

        Raises:
            UserError: none can train.
        """
        self._ask_new()
        self._needs_gpu = self.cluster.gpus_per_trial != 0 and any(
            row["Resources"].get("GPU", 0) for row, _ in self._asked.values()
        )
        found: list[Node] = []
        until = time.monotonic() + ANSWER_SECONDS
        with console.status(f"asking {counted(len(self._asked), 'node')}"):
            while self._asked or self._opening:
                found += self._collect(wait=0.2)
                if time.monotonic() > until:
                    for row, _ in self._asked.values():
                        self._leave_out(_name(row), f"does not answer within {ANSWER_SECONDS:.0f} s")
                    self._asked.clear()
        if not found:
            why = "; ".join(f"{name} {reason}" for name, reason in self._left_out.items()) or "none offers a CPU"
            raise UserError(f"--address = {self.cluster.address}: no node can train: {why}")
        for name, reason in self._left_out.items():
            console.print(f"node {name} is left out: it {reason}")
        return sorted(found, key=lambda node: natural(node.name))

    def look(self) -> list[Node]:
        """Returns nodes that have come since the last look, and can train; waits for none."""
        if time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + LOOK_SECONDS
        if not answers(self.cluster.address):  # Ray would wait for it: a watch tells how long it is silent
            return []
        self._ask_new()
        before = {*self._left_out}
        found = self._collect(wait=0.0)
        for name in self._left_out.keys() - before:
            console.print(f"node {name} has come, and is left out: it {self._left_out[name]}")
        for node in found:
            console.print(f"node {node.name} has come")
        return found

    def _ask_new(self) -> None:
        import ray

        for row in ray.nodes():
            if not row["Alive"] or row["NodeID"] in self._known:
                continue
            self._known.add(row["NodeID"])
            if row["Resources"].get("CPU", 0) < 1:  # such as a login node
                continue
            with sent_as_code(node_probe):
                answer = remote_on(row["NodeID"], node_probe.examine).remote(
                    str(self.folder), self.nonce, [*PACKAGES], row["NodeID"]
                )
            self._asked[row["NodeID"]] = row, answer

    def _collect(self, wait: float) -> list[Node]:
        """Takes the answers that are there; returns the nodes that have opened the dataset."""
        import ray

        pending = [ref for _, ref in (*self._asked.values(), *self._opening.values())]
        done = {*ray.wait(pending, num_returns=len(pending), timeout=wait)[0]} if pending else set()
        for id, (row, ref) in [*self._asked.items()]:
            if ref in done:
                del self._asked[id]
                self._judge(row, ref)
        return [node for id in [*self._opening] if (node := self._opened(id, done)) is not None]

    def _judge(self, row: Row, ref: Any) -> None:
        """Leaves a node out whose answer differs from ours; has it open the dataset otherwise."""
        import ray

        name = _name(row)
        try:
            answer = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._leave_out(name, f"cannot run anything: {_line(error)}")
            return
        node = self._node(row, answer)
        if node is None:
            return
        copies = str(self.cluster.copies.absolute()) if self.cluster.copies else None
        facts = self.data.facts()
        ref = remote_on(node.id, open_on_node).remote(self.task.name, facts["path"], facts, copies)
        self._opening[node.id] = node, ref
        console.print(
            f"node {name}: {counted(node.cores, 'core')}"
            + (f", {counted(node.all_gpus, 'GPU')}" if node.all_gpus else "")
            + f"; {byte_size(answer['memory'])} of memory and {byte_size(answer['disk'])} of disk are free"
        )

    def _node(self, row: Row, answer: Mapping[str, Any]) -> Node | None:
        name, gpus_per_trial = _name(row), self.cluster.gpus_per_trial
        free = _free(row)
        cores, gpus = int(free.get("CPU", 0)), int(free.get("GPU", 0)) if gpus_per_trial != 0 else 0
        wrong = differences(self._ours, answer, self.folder)
        wrong += [] if (self.folder / f"{node_probe.ANSWERS}{row['NodeID']}{self.nonce}").exists() or wrong else [
            f"writes into another {self.folder} than this machine's"
        ]  # fmt: skip
        if not cores:
            wrong.append("has no core that is free")
        elif self._needs_gpu and not gpus:
            wrong.append("has no free GPU, and others have")
        if not wrong:
            try:
                asked = None if self.cluster.concurrent == "auto" else self.cluster.concurrent
                resources = share_out(cores, gpus, asked, gpus_per_trial)
            except UserError as error:
                wrong.append(f"does not fit: {error}")
        if wrong:
            self._leave_out(name, ", and ".join(wrong))
            return None
        return Node(row["NodeID"], name, resources, cores, gpus, self.data.path)

    def _opened(self, id: str, done: set[Any]) -> Node | None:
        """Returns a node that has opened the dataset; None where it has not yet, or could not."""
        import ray

        node, ref = self._opening[id]
        if ref not in done:
            return None
        del self._opening[id]
        try:
            return Node(node.id, node.name, node.resources, node.cores, node.all_gpus, Path(ray.get(ref)))
        except ray.exceptions.RayError as error:
            self._leave_out(node.name, f"cannot open the data: {_line(error)}")
        return None

    def _leave_out(self, name: str, why: str) -> None:
        self._left_out[name] = why


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], folder: Path) -> list[str]:
    """Returns how a node differs from the driver, as ends of the sentence "it ..."."""
    wrong = []
    for package, version in ours["versions"].items():
        if theirs["versions"][package] != version:
            has = theirs["versions"][package] or "none"
            wrong.append(f"has {package} {has}, and not {version}")
    if not wrong:
        other = [package for package, code in ours["code"].items() if theirs["code"][package] != code]
        wrong += [f"has other code in {' and '.join(other)}"] if other else []
    if not theirs["sees"]:
        wrong.append(f"does not see {folder}; runs must lie on a disk that all nodes share")
    elif theirs["writes"]:
        wrong.append(f"cannot write into {folder}: {theirs['writes']}")
    return wrong


def _free(row: Row) -> Mapping[str, float]:
    """Returns the resources of a node that nothing else uses."""
    import ray

    with suppress(KeyError):  # it has just come, or gone
        found: Mapping[str, float] = ray._private.state.available_resources_per_node()[row["NodeID"]]
        return found
    whole: Mapping[str, float] = row["Resources"]
    return whole


def _name(row: Row) -> str:
    """Returns the name that a node was given, or its host's and address."""
    name, address = str(row["NodeName"]), str(row["NodeManagerAddress"])
    return f"{row['NodeManagerHostname']} ({address})" if name in ("", address) else name


def _line(error: Exception) -> str:
    """Returns what an error on a node says, in a line."""
    from ray.exceptions import NodeDiedError, TaskUnschedulableError, WorkerCrashedError

    if isinstance(error, NodeDiedError | TaskUnschedulableError):
        return "it has just died"
    if isinstance(error, WorkerCrashedError):
        return "its process died"
    cause = getattr(error, "cause", None)
    return " ".join(str(cause or error).split()) or type(cause or error).__name__
