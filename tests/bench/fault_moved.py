"""What a campaign of faults has so far: `python tests/bench/fault_moved.py [RUNS.jsonl]`.

For each injector: runs, how many could not be measured, how many moved a metric that matters, and how often today's
first diagnosis was right among those that did. What did not move is discarded by whoever fits or judges.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

from run_lines import read_lines

HARMLESS: Final = frozenset({"healthy", "application_limited"})


def main() -> int:
    """Print one line for each injector, one for the healthy runs, and the sums."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "results/faults/runs.jsonl")
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    named: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in read_lines(path):
        row = json.loads(line)
        key = (" + ".join(row["causes"]), row["injector"])
        kind = _kind(row)
        found[key].update(("runs", kind))
        if kind == "counted":
            first = str(row["diagnosis"][0]["cause"])
            found[key]["right"] += first in (HARMLESS if row["causes"] == ["healthy"] else row["causes"])
            named[key][first] += 1
    print(f"{'cause':32} {'injector':30} {'runs':>5} {'unmeasured':>10} {'not moved':>9} {'right':>9}  named first")
    total: Counter[str] = Counter()
    for key in sorted(found):
        one = found[key]
        total.update(one)
        names = ", ".join(f"{name} {times}" for name, times in named[key].most_common(4))
        print(_line(*key, one) + f"  {names}")
    print(_line("all", "", total))
    measured = total["counted"] + total["still"]
    print(f"discarded of what was measured: {100 * total['still'] / max(measured, 1):.0f} %")
    return 0


def _kind(row: dict[str, Any]) -> str:
    if not row["valid"]:
        return "failed"
    return "still" if row["moved"] is False else "counted"


def _line(cause: str, injector: str, one: Counter[str]) -> str:
    right = f"{one['right']}/{one['counted']}"
    return f"{cause:32} {injector:30} {one['runs']:5} {one['failed']:10} {one['still']:9} {right:>9}"


if __name__ == "__main__":
    sys.exit(main())
