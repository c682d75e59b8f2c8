"""A closer as a process of its own that ends itself, with SIGKILL, at the n-th step it comes to.

Called as `python -m tests.integration.orders_closer_process URL NOW STEP`; ends with 0 once nothing is left.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime

from cem.platform.db import Database
from tests.conftest import FakeClock
from tests.integration.orders_support import Room


def main() -> None:
    url, now, step = sys.argv[1:]
    left = int(step)

    def die(_at: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    closer = Room(Database(url), FakeClock(datetime.fromisoformat(now))).closer(batch_cases=9, checkpoint=die)
    while closer.tick():
        pass


if __name__ == "__main__":
    main()
