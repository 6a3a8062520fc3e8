"""A page that follows its runs, for browsers of this machine alone."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis import RunError
from analysis.run_directory.paths import RunDirectory
from salt_tune.report.page.follow import serve
from salt_tune.write_report import sources
from tests.analysis.fake_run import write_run
from trainable.errors import UserError


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run."""
    return write_run(tmp_path / "run")


@pytest.fixture
def port(run: RunDirectory) -> Iterator[int]:
    """Where its page is served."""
    with serve([run], 0, sources()) as (address, _):
        assert address.startswith("http://127.0.0.1:")
        yield int(address.strip("/").rpartition(":")[2])


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """The status and the content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_is_that_of_now(run: RunDirectory, port: int) -> None:
    status, page = ask(port, "/")
    assert status == 200 and "Promote T2" in page and "connect-src 'self'" in page
    before = ask(port, "/version")[1]
    assert ask(port, "/version")[1] == before
    run.summary.write_text(run.summary.read_text().replace('"demo-1"', '"demo-2"') + " ")
    assert ask(port, "/version")[1] != before
    run.summary.write_text("{")
    status, page = ask(port, "/")
    assert status == 200 and "broken JSON" in page


def test_a_page_elsewhere_cannot_read_it(port: int) -> None:
    assert ask(port, "/", host="evil.example")[0] == 403
    assert ask(port, "/version", host="localhost")[0] == 200
    assert ask(port, "/etc/passwd")[0] == 404


def test_a_port_that_is_taken_and_a_run_that_is_not_there_are_named(run: RunDirectory, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"--port {number}: Address already in use"),
            serve([run], number, sources()),
        ):
            pass
    with pytest.raises(RunError, match="no such folder"), serve([RunDirectory(tmp_path / "none")], 0, sources()):
        pass
