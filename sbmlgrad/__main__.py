"""``python -m sbmlgrad`` is the command ``sbmlgrad``."""

from sbmlgrad.cli import main

if __name__ == "__main__":
    main()
