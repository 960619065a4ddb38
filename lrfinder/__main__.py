"""`python -m lrfinder` is the command `lrfinder`."""

import sys

from lrfinder.cli import main

sys.exit(main())
