"""`python -m ganfold`, which torchrun needs."""

import sys

from ganfold.cli import main

if __name__ == "__main__":
    sys.exit(main())
