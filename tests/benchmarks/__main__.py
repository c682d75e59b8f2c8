"""`make bench`: every benchmark, or those named (`make bench ARGS=ingest`)."""

from __future__ import annotations

import sys
from importlib import import_module

BENCHMARKS = ("ingest", "drilldown")

names = sys.argv[1:] or BENCHMARKS
sys.argv[1:] = []
for name in names:
    if name not in BENCHMARKS:
        sys.exit(f"no benchmark {name}; there is {', '.join(BENCHMARKS)}")
    import_module(f"tests.benchmarks.{name}").main()
