"""Groups of clips that must not be torn apart by the split: those of one scene, one person, one long video.

Clips of one source look alike. Where some are trained on and others held out, the held-out loss flatters what only
remembers the source.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trainable.data.video.video_dataset import checked_text
from trainable.errors import UserError
from trainable.registry import nearest

FLAG: Final = "--group-by"

_COLUMN: Final = re.compile(r"(?P<file>.+\.(csv|json)):(?P<column>[^:]+)", re.IGNORECASE | re.DOTALL)
_ID_COLUMNS: Final = ("id", "video")


def refused(spec: str, reason: str) -> UserError:
    """Returns what is wrong with a grouping; a pattern is shown as it was given, without backslashes doubled."""
    return UserError(f"{FLAG} = '{spec}': {reason}")


class Grouping:
    r"""Names the group of each clip, by a pattern or by a column of a table.

    Args:
        spec: a regular expression, which is looked for in a clip's id. Its first group, or all that it matches, names
            the clip's group; `(v_\w+_g\d+)_c\d+` for UCF101. Or `FILE.csv:COLUMN` or `FILE.json:COLUMN`: a table with
            a row a clip (JSON: a list of objects). It names the clip in its column `id`, else `video`, else in its
            first one, by its id or by its path below the folder of videos.

    Attributes:
        spec: as it was given.
        rule: what a store remembers of it: the `pattern`, or the `column`, as tables grow with the videos.

    Raises:
        UserError: the pattern does not compile; the file is missing, is no table, or has no such column.
    """

    def __init__(self, spec: str) -> None:
        self.spec, self._table = spec, dict[str, str]()
        self._pattern: re.Pattern[str] | None = None
        if found := _COLUMN.fullmatch(spec):
            self.rule = {"column": found["column"]}
            self._table = _read_table(Path(found["file"]), found["column"], spec)
            return
        self.rule = {"pattern": spec}
        try:
            self._pattern = re.compile(spec)
        except re.error as error:
            raise refused(spec, f"is no regular expression: {error}") from error

    def refused(self, reason: str) -> UserError:
        """Returns what is wrong with it."""
        return refused(self.spec, reason)

    def groups(self, clips: Mapping[str, Path]) -> dict[str, str]:
        """Returns the group of each clip.

        Args:
            clips: by their ids, where each lies below the folder of videos.

        Raises:
            UserError: some clips have none.
        """
        groups = {name: self._group(name, path) for name, path in clips.items()}
        if lacking := sorted(name for name, group in groups.items() if not group):
            what = "names a group of" if self._pattern is None else "matches"
            if len(lacking) == len(groups):
                raise self.refused(f"{what} none of the {len(groups)} clips; the first is {lacking[0]!r}")
            raise self.refused(
                f"{what} {len(groups) - len(lacking)} of the {len(groups)} clips, and must do so for all; "
                f"the first of the other {len(lacking)} is {lacking[0]!r}",
            )  # fmt: skip
        return groups

    def _group(self, name: str, path: Path) -> str:
        """Returns the group of a clip; empty where it has none."""
        if self._pattern is None:
            return self._table.get(name) or self._table.get(path.as_posix(), "")
        found = self._pattern.search(name)
        return (found[1 if self._pattern.groups else 0] or "") if found else ""


def in_words(rule: dict[str, str] | None) -> str:
    """Says how clips are grouped, as the end of a sentence."""
    if rule is None:
        return "not grouped"
    ((kind, value),) = rule.items()
    return f"grouped by the {kind} '{value}'"


def _read_table(file: Path, column: str, spec: str) -> dict[str, str]:
    """Reads the value of a column by what names the clip."""
    rows = _read_rows(file)
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    if column not in names:
        raise refused(spec, f"{file} has no column {column!r}; {nearest(column, names)}")
    key = next((name for name in _ID_COLUMNS if name in names), names[0])
    if key == column:
        raise refused(spec, f"{column!r} is the column that names the clips, so that each were its own group")
    table: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        name, group = (_text(file, number, part, row.get(part)) for part in (key, column))
        if table.setdefault(name, group) != group:
            raise UserError(
                f"{file}: row {number}: {key} = {name!r}: stands before with {column} = {table[name]!r}, "
                f"here with {group!r}; each clip must be of one group"
            )
    return table


def _text(file: Path, number: int, column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{file}: row {number}: {column} = {value!r}: must be a text or a whole number")
    return checked_text(str(value).strip(), f"{file}: row {number}: {column}")


def _read_rows(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
        rows = json.loads(text) if file.suffix.lower() == ".json" else _csv_rows(text)
    except FileNotFoundError as error:
        raise UserError(f"{file}: there is no such file; {FLAG} takes FILE.csv:COLUMN, or a pattern") from error
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not JSON, or not UTF-8
        raise UserError(f"{file}: is no readable table: {error}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UserError(f"{file}: must hold a row a clip (as JSON: a list of objects, each with a clip's id)")
    return rows


def _csv_rows(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    return [{name: value for name, value in row.items() if name is not None} for row in reader]
