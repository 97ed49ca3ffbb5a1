"""`python -m dispatch`."""

from __future__ import annotations

import sys

from dispatch.cli import main

__all__: list[str] = []

sys.exit(main())
