"""A Ray cluster made on this machine, for tests and benchmarks: each node has an address and a name of its own.

`MadeCluster` runs it in another process, which reads commands and answers them, a line of JSON each. So nothing of it
is left in the process that uses it. A node can see other files at a path than its neighbours, where this user may make
mount namespaces.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000  # sched.h
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18  # mount.h
HEAD = "127.0.0.10"
MISSED_SECONDS = 60.0  # in which the head misses a node
WORKERS = ("TrialProcess", "RayTrainWorker")  # names of processes that train, in a search and in a final run


class MadeCluster:
    """A head without CPUs, as a login node, and nodes that are added; a context, at whose end all of it is gone.

    Attributes:
        address: of the head, HOST:PORT.
        environment: variables with which a driver is let in.
        head: process id of the head's raylet.
        raylets: process ids of the nodes that were added, by name.
    """

    def __init__(self, head: str = HEAD, netns: str | None = None) -> None:
        self._head, self._netns = head, netns
        self._folder = Path(tempfile.mkdtemp(prefix="c-", dir="/tmp"))  # sockets need a short path
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": str(self._folder),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.address, self.head = "", 0
        self.raylets: dict[str, int] = {}
        self._nodes: dict[str, dict[str, Any]] = {}  # the command that adds it, by name

    def __enter__(self) -> "MadeCluster":
        """Starts the head."""
        (self._folder / "ray").mkdir()
        with (self._folder / "errors.txt").open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.made_cluster"],
                env={**os.environ, **self.environment, "PYTHONPATH": str(Path(__file__).parents[1])},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        answer = self._ask(do="add", name="head", cpus=0, address=self._head, netns=self._netns)
        self.address, self.head = answer["address"], answer["raylet"]
        return self

    def __exit__(self, *_: object) -> None:
        """Kills what is left."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        self._process.kill()
        self._process.communicate()
        for process in psutil.process_iter(["cmdline"]):  # what has outlived its parent
            if any(str(self._folder) in word for word in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(
        self, number: int, cpus: int = 1, hides: Mapping[Path, Path] | None = None, netns: str | None = None,
        address: str | None = None,
    ) -> str:  # fmt: skip
        """Adds a node; returns its name.

        Args:
            number: makes its name and its address.
            cpus: that it offers.
            hides: folders in whose place it sees others.
            netns: network namespace that it lives in.
            address: of it; None: by its number.
        """
        hidden = {str(folder): str(other) for folder, other in (hides or {}).items()}
        address = address or f"127.0.0.{10 + number}"
        name = "abcdefgh"[number - 1]
        self._nodes[name] = {
            "do": "add",
            "name": name,
            "cpus": cpus,
            "address": address,
            "hides": hidden,
            "netns": netns,
        }
        self.restart(name)
        return name

    def restart(self, name: str) -> None:
        """Starts a node again whose raylet has died, as another node of the same name and address."""
        self.raylets[name] = self._ask(**self._nodes[name])["raylet"]

    def remove(self, *names: str) -> None:
        """Kills all processes of nodes, without a word to the others; returns when the head misses them."""
        for name in names:
            with contextlib.suppress(psutil.Error):
                raylet = psutil.Process(self.raylets.pop(name))
                for process in (raylet, *raylet.children(recursive=True)):
                    process.kill()
        until = time.monotonic() + MISSED_SECONDS
        while self._ask(do="count")["alive"] > 1 + len(self.raylets) and time.monotonic() < until:
            time.sleep(0.1)

    def workers(self, name: str) -> list[psutil.Process]:
        """Returns the processes of a node that train trials."""
        found = []
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.raylets[name]).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if any(name in " ".join(process.cmdline()) for name in WORKERS):
                        found.append(process)
        return found

    def kill_head(self) -> None:
        """Kills what the cluster cannot be without: its control store."""
        for process in psutil.Process(self._process.pid).children(recursive=True):
            if process.name() == "gcs_server":
                process.kill()

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer
        raise RuntimeError((self._folder / "errors.txt").read_text(encoding="utf-8"))


def may_mount() -> bool:
    """Tells whether this user may make mount namespaces."""
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)  # noqa: S607
    return done.returncode == 0


def _serve() -> None:
    """Runs in the process of the cluster."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(shutdown_at_exit=False)
    for line in sys.stdin:
        command, answers = json.loads(line), SimpleQueue[dict[str, Any]]()
        if command["do"] == "count":
            print(json.dumps({"alive": len(cluster.global_state._live_node_ids())}), flush=True)
            continue
        threading.Thread(target=_add, args=(cluster, command, answers), daemon=True).start()
        print(json.dumps(answers.get()), flush=True)


def _add(cluster: Any, command: dict[str, Any], answers: SimpleQueue[dict[str, Any]]) -> None:
    """Adds a node; runs in a thread that never ends, as what a thread sees is its own, and its children die with it."""
    try:
        _see(command.get("hides") or {}, command.get("netns"))
        node = cluster.add_node(
            num_cpus=command["cpus"], node_ip_address=command["address"], node_name=command["name"],
            include_dashboard=False, object_store_memory=80 * 2**20,
        )  # fmt: skip
        answers.put({"address": cluster.address, "raylet": node.all_processes["raylet"][0].process.pid})
    except Exception as error:  # told where it was asked for
        answers.put({"error": repr(error)})
    threading.Event().wait()


def _see(hides: Mapping[str, str], netns: str | None) -> None:
    """Has this thread, and what it starts, see other folders, or another network."""
    libc = ctypes.CDLL(None, use_errno=True)

    def checked(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    if hides:
        checked(libc.unshare(CLONE_NEWNS))
        checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        for folder, other in hides.items():
            checked(libc.mount(other.encode(), folder.encode(), None, MS_BIND, None))
    if netns:
        theirs = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
        checked(libc.setns(theirs, CLONE_NEWNET))
        os.close(theirs)


if __name__ == "__main__":
    _serve()
