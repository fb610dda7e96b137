"""The `flowtime` command, and `python -m flowtime`: what is set before anything else is imported."""

from __future__ import annotations

import gc
import signal
from importlib import import_module


def main() -> None:
    """Runs a command and ends the process with its exit code."""
    # Until the command can say that it was stopped, Ctrl-C ends the process as it ends any other program.
    # Where whoever started it has Ctrl-C ignored, as shells do for `command &`, it stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imports make a hundred thousand objects that stay; looking at them again and again took a quarter of a
    # small run's time, before and, without the freeze, once more at the end.
    gc.set_threshold(500_000)
    try:
        import_module("flowtime.cli").main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
