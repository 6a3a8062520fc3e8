"""The `salt-tune` entry point: the same commands as `python -m salt_tune.NAME`."""

import click

from salt_tune import prepare, promote, search
from salt_tune.ui.console import OneLineErrorsGroup


@click.group(cls=OneLineErrorsGroup)
@click.version_option(package_name="salt_tune")
def main() -> None:
    """Hyperparameter search for video self-supervision: prepare, search, promote."""


main.add_command(prepare.main, "prepare")
main.add_command(search.main, "search")
main.add_command(promote.main, "promote")
