"""The `salt-tune` entry point: the same commands as `python -m salt_tune.NAME`."""

from typing import Final

import click

from salt_tune.ui.commands import LazyGroup
from trainable.registry import Registry

EXAMPLE = """\
salt-tune prepare /data/ssv2 --store stores/ssv2
salt-tune search --space vit_base --store stores/ssv2 --name first
salt-tune promote runs/first
salt-tune encode /data/ssv2 --model runs/first/final/T3-20epochs --out ssv2.parquet"""

# Loaded when they are used: a look at a run does not wait for what a search needs.
NAMES = (
    "prepare", "search", "promote", "encode",
    "ls", "show", "report", "status", "watch", "compare", "suggest", "export", "reproduce", "logs", "stop", "rm",
)  # fmt: skip
MODULES = {
    **dict(zip(NAMES, NAMES, strict=True)),
    "report": "write_report",
}  # `salt_tune.report` is what reports are made of
COMMANDS: Final[Registry[click.Command]] = Registry(
    "command", {name: f"salt_tune.{module}:main" for name, module in MODULES.items()}
)


@click.group(cls=LazyGroup, commands=COMMANDS, example=EXAMPLE)
@click.version_option(package_name="salt_tune")
def main() -> None:
    """Hyperparameter search for video self-supervision: prepare, search, promote, encode."""
