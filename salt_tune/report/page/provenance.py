"""What a page says of how a run was made, and of what went wrong in it."""

import json
import shlex
from dataclasses import dataclass
from typing import Final

from analysis.run_directory.paths import read_manifest
from analysis.run_directory.trials import TrialState
from analysis.tables.run import Run
from analysis.text import printable

TRACEBACK_LETTERS: Final = 6000  # of the end of a traceback
LOST: Final = (TrialState.FAILED, TrialState.DIVERGED, TrialState.OUT_OF_MEMORY, TrialState.INTERRUPTED)


@dataclass(frozen=True)
class Failure:
    """A trial that was lost.

    Attributes:
        trial: its id.
        state: what became of it.
        why: a line.
        traceback: the end of it; empty: there is none.
    """

    trial: str
    state: str
    why: str
    traceback: str


def failures(run: Run) -> list[Failure]:
    """Returns the trials that were lost, and why as far as it is known."""
    found = []
    for trial in run.summary["trials"]:
        file = run.directory.error(trial["id"])
        if trial["state"] not in LOST and not file.exists():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")[-TRACEBACK_LETTERS:] if file.exists() else ""
        text = "\n".join(map(printable, text.splitlines()))
        found.append(Failure(trial["id"], str(trial["state"]), printable(trial["error"] or ""), text))
    return found


@dataclass(frozen=True)
class Origin:
    """How to repeat a run.

    Attributes:
        command: as it was given.
        facts: name and value, such as versions.
        space: the search space as it was resolved; empty: not there.
    """

    command: str
    facts: list[tuple[str, str]]
    space: str


def origin(run: Run) -> Origin:
    """Returns how to repeat a run, from run.json and space.yaml."""
    if not has_manifest(run):
        return Origin("", [], "")
    manifest = read_manifest(run.directory)
    words = [str(word) for word in manifest.get("command", [])]
    name = words[0].rpartition("/")[2].removesuffix(".py") if words else ""
    command = shlex.join(
        ["python", "-m", f"salt_tune.{name}", *words[1:]] if words and words[0].endswith(".py") else words
    )
    store, versions = manifest.get("store", {}), manifest.get("versions", {})
    facts: list[tuple[str, str]] = [
        (key, str(manifest[key])) for key in ("created", "task", "seed", "seeds", "searcher") if key in manifest
    ]
    facts += [(f"store {key}", str(value)) for key, value in store.items()]
    facts += [(key, str(value)) for key, value in versions.items()]
    for key in ("hardware", "git", "resources"):
        if key in manifest:
            facts.append((key, json.dumps(manifest[key])))
    file = run.directory.space
    space = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    space = "\n".join(map(printable, space.splitlines()))
    return Origin(printable(command), [(printable(key), printable(value)) for key, value in facts], space)


def has_manifest(run: Run) -> bool:
    """Returns whether a run says how it was made."""
    return run.directory.manifest.is_file()
