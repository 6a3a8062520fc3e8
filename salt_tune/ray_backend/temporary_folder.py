"""Where Ray keeps its sockets and logs: a short path, for this user alone, gone with the search.

Ray's own choice is TMPDIR/ray: too long for a socket below many a TMPDIR, writable by everybody on the machine, and
never emptied. Its token for itself lies in ~/.ray, and not everybody has a home that can be written.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salt_tune.runs.lock import locked_folder, sweep
from trainable.errors import UserError

ANYWHERE = ("/tmp", "/dev/shm", "/var/tmp")  # noqa: S108 - in a folder of this user's alone
PREFIX = "salt-tune-"
LONGEST_SOCKET = 107  # bytes of a socket's path (sun_path in unix(7) less the 0 at its end)
# What Ray puts below the folder, at its longest, and what `tempfile` adds to the prefix.
BELOW = len("/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
RANDOM = 8
LOADED = "ray._raylet"  # it reads the environment once


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Makes a folder for Ray's `_temp_dir`; gone at the end, and after a crash with the next search.

    Raises:
        UserError: no folder with a short path can be written.
    """
    named = (os.environ.get(name, "") for name in ("RAY_TMPDIR", "TMPDIR"))
    tried = list(dict.fromkeys(name for name in (*named, *ANYWHERE) if name.startswith("/") and name.isprintable()))
    most = LONGEST_SOCKET - len(f"/{PREFIX}") - RANDOM - BELOW
    with contextlib.ExitStack() as stack:
        for parent in (Path(name) for name in tried if len(os.fsencode(name)) <= most):
            sweep(parent, PREFIX)
            try:
                folder = stack.enter_context(locked_folder(parent, PREFIX))
            except OSError:  # it is not there, is full, or cannot be written
                continue
            yield folder / "r"  # Ray opens it to all, who come no further than its parent
            return
    raise UserError(
        f"{', '.join(tried)}: Ray's sockets can lie in none of them; "
        f"set TMPDIR to a writable folder whose path has at most {most} bytes"
    )


def keep_out_of_home() -> None:
    """Lets Ray do without a home: it gets a token of this process's, and a home where the user has none.

    Where the caller has loaded Ray already, it has settled for itself how it is called, and stays with that.
    """
    settled = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if not settled and LOADED not in sys.modules:
        os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
    give_home()


def give_home() -> None:
    """Gives a home to a user that has none."""
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path.home raises; neither HOME nor an entry in passwd
        os.environ["HOME"] = "/"
