"""Hyperparameter search for video self-supervision on Ray Tune: the commands, and all that talks to Ray."""

import signal
import sys
from pathlib import Path

_is_command = sys.argv[:1] == ["-m"] or Path(sys.argv[0] if sys.argv else "").name == "salt-tune"
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While a command still loads, Ctrl-C ends it at once and without a traceback; `ui.signals` takes over then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
