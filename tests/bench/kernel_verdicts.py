"""What the procedure of `perfcheck ab` says of the boots that kernel_pool.py kept: changes that are known, and none.

    python tests/bench/kernel_verdicts.py [FILE]

Each build takes boots that no other build of the same comparison has, nine at first, and more where it is not settled.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kernel_pool import KEPT

from perfcheck.compare.ab import compare_pairs
from perfcheck.compare.pairs import LOOKS, Answer
from perfcheck.model.catalogue import CATALOGUE

COMPARED: Final = (
    ("nft-1", "nft-2"), ("nft-1", "nft-3"), ("bpf-20", "bpf-100"), ("bpf-20", "bpf-170"), ("bpf-20", "bpf-320"),
    ("timestamps-off", "base"), ("base", "pfifo"), ("pfifo", "prio"), ("base", "other-command-line"),
)  # fmt: skip
Boots = Mapping[int, Mapping[str, float]]


def builds(a: Boots, b: Boots, key: str) -> Iterator[tuple[str, float, int]]:
    """Yield the verdict, the change in percent and the pairs of each build."""
    spec = CATALOGUE[key.partition("@")[0]]
    indices = sorted(set(a) & set(b))
    while len(indices) >= LOOKS[0].pairs:
        for look in LOOKS:
            used = indices[: look.pairs]
            if len(used) < look.pairs:
                break
            compared, answer = compare_pairs(spec, [a[each][key] for each in used], [b[each][key] for each in used])
            if answer is not Answer.OPEN:
                break
        yield compared.verdict.value, compared.change_pct or 0.0, len(used)
        indices = indices[len(used) :]


def main() -> int:
    """Print a line for each comparison and load."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT
    boots: dict[str, dict[int, Mapping[str, float]]] = defaultdict(dict)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        boots[row["variant"]][row["index"]] = row["figures"]
    for before, after in COMPARED:
        keys = [key for key in next(iter(boots[before].values()), {}) if "@" in key and "segment@bulk" not in key]
        for key in keys:
            found = list(builds(boots[before], boots[after], key))
            told = ", ".join(f"{verdict} {change:+.2f} % ({pairs} pairs)" for verdict, change, pairs in found)
            print(f"{before} -> {after}  {key}: {told or 'too few boots'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
