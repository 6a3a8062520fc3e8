"""A search whose output nobody reads any more stops as on SIGTERM, says how to go on, and goes on."""

import json
import shlex
from pathlib import Path

from tests.conftest import complaints, start_command
from tests.faults.searching import MINUTES, command, ended, resume
from tests.toy_task import SPACE


def test_a_reader_that_leaves_stops_it_and_it_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    # Reports enough: the search learns with its next line that nobody reads, and the trial is far from done then.
    schedule = {"scheduler": "none", "epochs": 2, "reports": 12}
    space = {**SPACE, "fixed": {"seconds": 2.0}, "schedule": schedule, "trials": 2}
    words = command(folder, folder, "left", space)
    process = start_command(folder, "search", *words, leads=True, env={})  # with pipes
    assert process.stdout is not None and process.stderr is not None
    while "T0   starts" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(MINUTES) == 130
    (line,) = complaints(errors).splitlines()
    assert line.startswith("Not finished. To go on: "), errors
    run = folder / "left"
    advice = shlex.split(errors.partition("To go on: ")[2])
    assert advice == ["python", "-m", "salt_tune.search", "--resume", str(run)]
    states = [trial["state"] for trial in json.loads((run / "summary.json").read_text())["trials"]]
    assert "interrupted" in states
    done = ended(resume(run))
    assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stdout
    states = [trial["state"] for trial in json.loads((run / "summary.json").read_text())["trials"]]
    assert states == ["complete"] * 2
    assert f"NEXT\n  python -m salt_tune.promote {shlex.quote(str(run))}\n" in done.stdout
