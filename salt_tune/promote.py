"""`python -m salt_tune.promote`: the winner of a search, trained for longer, and its encoder written."""

from pathlib import Path
from typing import Any

import click

from salt_tune.callbacks.base import MODES
from salt_tune.options import MACHINE, RUN, Finite, Folder, address_flag, detach_flag, flag, heartbeat_flag, wandb_flag
from salt_tune.ui.commands import Command
from salt_tune.ui.detached import Settled
from trainable.worker import CHECKPOINT_MINUTES

# Flags of which at most one may be given: each says by itself which run is meant.
APART = (("more", "epochs"), ("more", "from_scratch"), ("more", "top"), ("top", "trial"), ("top", "from_scratch"),
         ("init", "more"), ("init", "top"), ("init", "from_scratch"))  # fmt: skip


@click.command(cls=Command, example="python -m salt_tune.promote runs/first --epochs 100")
@click.argument("run_path", metavar="RUN", type=Folder())
@flag(
    RUN, "--epochs", type=click.IntRange(min=1), help="Epochs of the final run [default: the space's promotion.epochs]."
)
@flag(RUN, "--more", type=click.IntRange(min=1), help="Epochs more than the longest final run of the trial has.")
@flag(RUN, "--trial", help="Trial to promote [default: the winner].")
@flag(
    RUN, "--top", type=click.IntRange(min=2), metavar="K",
    help="Let the best K go on in turn, as freeze_thaw decides, and take the one that comes out ahead.",
)  # fmt: skip
@flag(RUN, "--from-scratch", is_flag=True, help="Train anew a trial that could go on from where the search left it.")
@flag(RUN, "--anyway", is_flag=True, help="Promote a trial that is of no more use than an untrained encoder.")
@flag(RUN, "--init", type=Folder(), help="Folder of another promoted model, with whose weights the student begins.")
@flag(RUN, "--against", type=Folder(), help="Folder of another promoted model, with which this one is compared.")
@flag(RUN, "--store", type=Folder(), help="Where the clip store lies now, if it was moved.")
@flag(
    RUN,
    "--checkpoint-minutes",
    type=Finite(min=0),
    default=CHECKPOINT_MINUTES,
    show_default=True,
    help="Between two checkpoints at most; there is one after each report too.",
)
@flag(
    MACHINE, "--workers", type=click.IntRange(min=1), default=1, show_default=True,
    help="Processes that share the training, a GPU or a core each.",
)  # fmt: skip
@heartbeat_flag("With --workers, kill them when none has given a sign of life for so long; others go on.")
@address_flag
@detach_flag("salt_tune.promote")
@wandb_flag(MODES, "off")
def main(run_path: Path, wandb_mode: Any, settled: Settled, **flags: Any) -> int:
    """Train the winner of the search in RUN for longer.

    Under the schedule wsd it goes on from where the search left it, and cools down at the end; --more prolongs it from
    before the cooldown. A cosine begins from scratch, stretched over more epochs. Stopped at any moment, the same
    command goes on where it was, also with other --workers. Writes the encoder, its configuration and a card, and says
    how good the encoder is.
    """
    for one, other in APART:
        if flags[one] and flags[other]:
            raise click.UsageError(f"--{one} and --{other.replace('_', '-')}: give one of the two")
    from salt_tune.run_promotion import Asked, promote  # a second, which --help does without

    return promote(run_path, Asked(wandb=wandb_mode, **flags), settled)


if __name__ == "__main__":
    main()
