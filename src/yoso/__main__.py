"""`python -m yoso` is the `yoso` command."""

import sys

from yoso.apps.cli import main

sys.exit(main())
