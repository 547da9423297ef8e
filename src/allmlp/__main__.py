"""`python -m allmlp` is the command line."""

import sys

from allmlp.cli import main

sys.exit(main())
