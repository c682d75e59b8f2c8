"""A long fuzz run over every feed parser: `python -m tests.benchmarks.fuzz_feeds --count 100000 --seed 1`.

Says how many mutants were stored, refused or ended by one of the parsers' own errors, the slowest one, and how much
memory the process held at most. Any other exception ends the run with the mutant's number and saves it beside.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from tests.feed_fuzz import mutants, outcome

MOST_MIB = 1_024
"""Memory of the run. [MiB] Chosen here: the libraries hold some 300 before the first mutant."""
MOST_S = 5.0
"""Time of one mutant. [s] Chosen here: mutants are some kB long; a machine that is busy gets its share."""


def main() -> int:
    """Run; 0 where every parser kept to its own errors and bounds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    seen: Counter[str] = Counter()
    slowest = (0.0, "")
    began = time.monotonic()
    for number, (name, data, mapping) in enumerate(mutants(chosen.seed, chosen.count)):
        start = time.process_time()
        try:
            stored, refused, error = outcome(name, data, mapping)
        except BaseException as error:
            kept = Path(f"fuzz-{chosen.seed}-{number}-{name}")
            kept.write_bytes(data)
            print(f"mutant {number} ({name}), kept as {kept}: {type(error).__name__}", file=sys.stderr)
            raise
        took = time.process_time() - start
        slowest = max(slowest, (took, f"{number} {name}"))
        seen["stored"] += stored
        seen["refused"] += refused
        seen["ended by an own error" if error else "read to the end"] += 1
    held_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for what, count in seen.most_common():
        print(f"{what}: {count}")
    print(f"slowest: {slowest[0]:.3f} s of processor ({slowest[1]})")
    print(f"memory at most: {held_mib:.0f} MiB; {time.monotonic() - began:.0f} s in all")
    return 0 if slowest[0] <= MOST_S and held_mib <= MOST_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
