"""What listens during a search answers nothing without the token of the search."""

import json
import os
import socket
from pathlib import Path

import pytest

from benchmarks.listening import answer, control_store, listeners, token_of, without_token
from tests.conftest import start_command
from tests.salt_tune.conftest import MINUTES, read_reports, wait_for
from tests.toy_task import SPACE


def test_a_socket_that_listens_is_found() -> None:
    before = {*listeners(os.getpid())}
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        new = {*listeners(os.getpid())} - before
        expected = {("127.0.0.1", one.getsockname()[1]), ("::1", six.getsockname()[1])}
        assert {(each.address, each.port) for each in new} == expected


@pytest.mark.slow
def test_nothing_answers_without_the_token(tmp_path: Path) -> None:
    space = {**SPACE, "fixed": {"seconds": 60.0}, "trials": 2}
    (tmp_path / "toy.json").write_text(json.dumps(space), encoding="utf-8")
    words = ("--space", tmp_path / "toy.json", "--store", tmp_path, "--runs", tmp_path, "--name", "run")
    process = start_command(tmp_path, "search", *words, "--concurrent", 2, env={})  # seen by its name
    try:
        wait_for(lambda: bool(read_reports(tmp_path / "run" / "reports.jsonl")), process)
        found = listeners(process.pid)
        programs = " ".join(listener.program for listener in found)
        assert all(name in programs for name in ("gcs_server", "raylet", "TrialProcess", "salt_tune.search"))
        for listener in found:
            said = without_token(listener)
            assert said.startswith(("UNAUTHENTICATED", "HTTP 401")), (listener, said)
        address, store = control_store(process.pid)
        assert answer(address, "0" * 64).startswith("UNAUTHENTICATED")
        assert answer(address, token_of(store)) == "OK"
    finally:
        process.terminate()
        process.communicate(timeout=MINUTES)
