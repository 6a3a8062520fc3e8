"""Packages as `pip` would install them, which add entries to a registry."""

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, name: str, group: str, entries: Mapping[str, str], source: str = "") -> None:
    """Puts a package into `folder`, which has to be on `sys.path` then.

    Args:
        folder: where to; it is made.
        name: of the package, and of its one module.
        group: of its entry points.
        entries: their names, and what they are: "module:attribute".
        source: of the module.
    """
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{entry} = {target}\n" for entry, target in entries.items())
    (facts / "entry_points.txt").write_text(f"[{group}]\n{lines}")
