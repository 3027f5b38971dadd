"""``python -m sbmlgrad`` is the command ``sbmlgrad``."""

import os
import sys

from sbmlgrad.cli import main
from sbmlgrad.cli_errors import INTERRUPTED


def run() -> None:
    """Run a command and end the process with its status."""
    try:
        main()
    except SystemExit as ending:
        if ending.code == INTERRUPTED:  # nobody waits for what is still being compiled or simulated in threads
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise


if __name__ == "__main__":
    run()
