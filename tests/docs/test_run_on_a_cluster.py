"""The page on clusters: its commands are run, with addresses of this machine in place of the hosts."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.conftest import ROOT, environment_of_commands
from tests.salt_tune.conftest import MINUTES, read_json, read_reports
from tests.toy_task import SPACE

PAGE = (ROOT / "docs" / "howto" / "run-on-a-cluster.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^(login|node)\$ (.*)$", re.MULTILINE)
HOSTS = {"login": "127.0.0.30", "node": "127.0.0.31"}

pytestmark = pytest.mark.slow


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that login node and node share, with a path short enough for sockets; Ray is killed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="h-", dir="/tmp"))
    yield folder
    for process in psutil.process_iter(["cmdline", "pid"]):
        if process.pid != os.getpid() and any(str(folder) in word for word in process.info["cmdline"] or ()):
            process.kill()


def test_the_commands_of_the_page_are_a_search_on_a_cluster(home: Path, tmp_path: Path) -> None:
    (tmp_path / "ssv2").mkdir()
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**SPACE, "fixed": {"seconds": 0.5}}), encoding="utf-8")
    port = 20000 + os.getpid() % 10000
    variables = {name: value for name, value in environment_of_commands().items() if not name.startswith("RAY_")}
    variables |= {
        "HOME": str(home),
        "RAY_TMPDIR": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for host, command in COMMAND.findall(PAGE):
        ip = f" --node-ip-address {HOSTS[host]}" if "ray start" in command else ""
        words = shlex.split(
            command.replace("login:6379", f"{HOSTS['login']}:{port}").replace("6379", str(port))
            .replace("/shared", str(tmp_path)).replace("vit_base", str(tmp_path / "toy.yaml"))
            + ip
        )  # fmt: skip
        given = dict(word.split("=") for word in words if re.match("RAY_[A-Z_]+=", word))
        words = [
            sys.executable if word == "python" else word for word in words if word not in map("=".join, given.items())
        ]
        if "ray start --address" in command:
            words += ["--num-cpus", "1"]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={**variables, **given},
            capture_output=True,
            text=True,
            timeout=MINUTES,
            check=False,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert (home / ".ray" / "auth_token").exists()
    run = tmp_path / "runs" / "first"
    logs = [sys.executable, "-m", "salt_tune.logs", str(run), "--follow"]
    subprocess.run(logs, env=variables, capture_output=True, timeout=MINUTES, check=True)
    assert read_json(run / "summary.json")["best"] is not None
    assert {report["node"] for report in read_reports(run / "reports.jsonl")} == {
        read_json(run / "run.json")["resources"]["nodes"][0]["name"]
    }
