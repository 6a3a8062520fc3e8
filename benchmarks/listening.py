"""`python -m benchmarks.listening`: what listens during a search, and what a client without its token gets.

Starts a search of the toy task of the tests, and reads /proc/net/tcp and tcp6 for the sockets of its processes. Each is
asked for something without a token. Ray's control store is asked with a wrong one and with that of the search, too.
"""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import psutil

from benchmarks import machine
from salt_tune.ray_backend.cluster_address import ASKED
from tests.toy_task import SPACE

# What each program is asked for without a token: a method that answers those that it knows.
METHODS = {
    "gcs_server": (ASKED,),
    "raylet": ("/ray.rpc.NodeManagerService/GetNodeStats", "/ray.rpc.ObjectManagerService/Pull"),
    "ray::": ("/ray.rpc.CoreWorkerService/GetCoreWorkerStats",),
    "salt_tune.search": ("/ray.rpc.CoreWorkerService/GetCoreWorkerStats",),
}
LISTEN = "0A"  # TCP_LISTEN, as /proc/net/tcp writes states


@dataclass(frozen=True, order=True)
class Listener:
    """A socket that listens.

    Attributes:
        address: that it is bound to; "0.0.0.0" and "::" are all of the machine's.
        port: of it.
        program: that listens.
    """

    address: str
    port: int
    program: str

    @property
    def everywhere(self) -> bool:
        """Whether it is bound to all addresses of the machine."""
        return ip_address(self.address).is_unspecified


def listeners(process: int) -> list[Listener]:
    """Returns what a process and its descendants listen on, by TCP."""
    root = psutil.Process(process)
    found = set()
    for one in (root, *root.children(recursive=True)):
        try:
            inodes, program = _sockets(one.pid), _program(one)
        except (OSError, psutil.Error):  # it has just ended
            continue
        for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
            for line in Path(f"/proc/{one.pid}/net/{table}").read_text(encoding="utf-8").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and fields[9] in inodes:
                    address, port = fields[1].split(":")
                    found.add(Listener(_address(family, address), int(port, 16), program))
    return sorted(found)


def without_token(listener: Listener) -> str:
    """Returns what a client without a token gets from a listener of Ray: a status of gRPC, or one of HTTP."""
    where = "127.0.0.1" if listener.everywhere else listener.address
    address = f"{where}:{listener.port}"
    if "Agent" in listener.program:
        connection = http.client.HTTPConnection(where, listener.port, timeout=5)
        connection.request("POST", "/get_or_create_runtime_env", body=b"")
        return f"HTTP {connection.getresponse().status}"
    methods = next((methods for name, methods in METHODS.items() if listener.program.startswith(name)), ())
    said = [answer(address, None, method) for method in methods]
    return next((each for each in said if not each.startswith("UNIMPLEMENTED")), "none of our methods")


def answer(address: str, token: str | None, method: str = ASKED) -> str:
    """Returns what a server of Ray's says to a client: "OK", or the status code of gRPC and its words."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=5, metadata=metadata)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return "OK"


def token_of(process: int) -> str | None:
    """Returns the token that a process of this user was given by its environment."""
    return psutil.Process(process).environ().get("RAY_AUTH_TOKEN")


def control_store(process: int) -> tuple[str, int]:
    """Returns the address of the control store of a search's Ray, and its process."""
    for one in psutil.Process(process).children(recursive=True):
        if "gcs_server" in _program(one):
            (port,) = {
                listener.port
                for listener in listeners(one.pid)
                if f"--gcs_server_port={listener.port}" in one.cmdline()
            } or {min(listener.port for listener in listeners(one.pid))}
            return f"127.0.0.1:{port}", one.pid
    raise RuntimeError("the search has no control store")


def _sockets(process: int) -> set[str]:
    """Returns the inodes of a process's sockets."""
    found = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if (file := str(link.readlink())).startswith("socket:["):
                found.add(file.removeprefix("socket:[").removesuffix("]"))
    return found


def _address(family: socket.AddressFamily, digits: str) -> str:
    """Reads an address as /proc has it: words of 32 bits, each in the machine's order."""
    words = [digits[start : start + 8] for start in range(0, len(digits), 8)]
    return socket.inet_ntop(family, b"".join(bytes.fromhex(word)[::-1] for word in words))


def _program(process: psutil.Process) -> str:
    words = process.cmdline()
    if words and words[0].startswith("ray::"):
        return words[0]
    known = ("gcs_server", "raylet", "log_monitor", "monitor", "runtime_env", "agent", "salt_tune.search")
    return next((name for name in known for word in words if name in word), process.name())


def main() -> None:
    """Measures and writes results/listening-*.json."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "toy.json").write_text(json.dumps({**SPACE, "fixed": {"seconds": 20.0}}), encoding="utf-8")
        words = ("--space", "toy.json", "--store", folder, "--runs", folder, "--name", "run", "--concurrent", 2)
        process = subprocess.Popen(
            [sys.executable, "-m", "salt_tune.search", *map(str, words)],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while process.poll() is None and not (folder / "run" / "reports.jsonl").exists():
                time.sleep(0.1)
            address, store = control_store(process.pid)
            told: dict[str, Any] = {
                "listen, and say without a token": [
                    f"{one.address}, {one.program}: {without_token(one)}" for one in listeners(process.pid)
                ],
                "control store, with another token": answer(address, "0" * 64),
                "control store, with the token of the search": answer(address, token_of(store)),
            }
        finally:
            process.terminate()
            process.wait()
    machine.write("listening", told)


if __name__ == "__main__":
    main()
