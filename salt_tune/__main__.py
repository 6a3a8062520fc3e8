"""`python -m salt_tune`: the same as `salt-tune`."""

from salt_tune.cli import main

main(prog_name="salt_tune")
