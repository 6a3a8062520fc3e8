"""Hyperparameter search for video self-supervision on Ray Tune: the commands, and all that talks to Ray."""

import signal
import sys
from pathlib import Path

if sys.argv[:1] == ["-m"] or Path(sys.argv[0] if sys.argv else "").name == "salt-tune":
    # While a command still loads, Ctrl-C ends it at once and without a traceback; `salt_tune.signals` takes over then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
