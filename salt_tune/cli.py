"""The `salt-tune` entry point: the same commands as `python -m salt_tune.NAME`."""

import click

from salt_tune.encode import main as encode
from salt_tune.prepare import main as prepare
from salt_tune.promote import main as promote
from salt_tune.search import main as search
from salt_tune.ui.commands import Group

EXAMPLE = """\
salt-tune prepare /data/ssv2 --store stores/ssv2
salt-tune search --space vit_base --store stores/ssv2 --name first
salt-tune promote runs/first
salt-tune encode /data/ssv2 --model runs/first/final/T3-20epochs --out ssv2.parquet"""


@click.group(cls=Group, example=EXAMPLE)
@click.version_option(package_name="salt_tune")
def main() -> None:
    """Hyperparameter search for video self-supervision: prepare, search, promote, encode."""


main.add_command(prepare, "prepare")
main.add_command(search, "search")
main.add_command(promote, "promote")
main.add_command(encode, "encode")
