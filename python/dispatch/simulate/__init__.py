"""Traffic in virtual time, around the same core that routes requests in production: what would this policy do under that load?

`scenario` is the file, `compile` makes a run of it, `policy` names strategies, `study` compares them over seeds and workers, `outcome`
reads what the core reports, `tables` and `page` show it.
"""

from __future__ import annotations
