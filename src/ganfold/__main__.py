"""`python -m ganfold`, which torchrun needs."""

import sys

from ganfold.cli import main

sys.exit(main())
