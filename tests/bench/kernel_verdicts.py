"""What `perfcheck ab` says of the boots that kernel_pool.py kept: of an unchanged kernel, and of known slowdowns.

    python tests/bench/kernel_verdicts.py [--each]

A build is one comparison. Its pairs are of two boots each, nine at first and more where it is not settled. No other
build of the same kind has one of its pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kernel_pool import KEPT

from perfcheck.compare.ab import compare_pairs
from perfcheck.compare.pairs import LOOKS, Answer
from perfcheck.model.catalogue import CATALOGUE

REQUEST: Final = "cpu.insns_per_request@to-"
SLOWDOWNS: Final = (
    ("one nft rule", "nft1", "nft2"), ("two nft rules", "nft1", "nft3"), ("BPF, 80 instructions", "bpf20", "bpf100"),
    ("BPF, 150 instructions", "bpf20", "bpf170"), ("BPF, 300 instructions", "bpf20", "bpf320"),
    ("sysctl tcp_timestamps", "notime", "plain"), ("qdisc pfifo", "plain", "pfifo"), ("qdisc prio", "pfifo", "prio"),
)  # fmt: skip
UNCHANGED: Final = ("cpu.insns_per_request@requests", "cpu.insns_per_segment@datagrams", "cpu.insns_per_byte@bulk")
SHIFTS: Final = (1, 5, 9, 13)
"""Each pair's sides are of two boots, as two kernels are, so far apart: what a boot has in common would hide in it."""
Values = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One comparison's end."""

    verdict: str
    change_pct: float
    pairs: int


def builds(key: str, a: Values, b: Values) -> Iterator[Build]:
    """Yield the builds that the boots of two sides are enough for."""
    spec = CATALOGUE[key.partition("@")[0]]
    at = 0
    while at + LOOKS[0].pairs <= min(len(a), len(b)):
        used = 0
        for look in LOOKS:
            if at + look.pairs > min(len(a), len(b)):
                break
            used = look.pairs
            compared, answer = compare_pairs(spec, a[at : at + used], b[at : at + used])
            if answer is not Answer.OPEN:
                break
        yield Build(verdict=compared.verdict.value, change_pct=compared.change_pct or 0.0, pairs=used)
        at += used


def told(name: str, found: Sequence[Build], each: bool) -> str:
    """Return a line of the table."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(one.verdict for one in found).items())
    changes = [one.change_pct for one in found]
    pairs = sorted({one.pairs for one in found})
    if each:
        verdicts += "".join(f"\n    {one.verdict} {one.change_pct:+.2f} % ({one.pairs} pairs)" for one in found)
    return f"{name} | {len(found)} | {min(changes):+.2f} to {max(changes):+.2f} % | {verdicts} | {pairs}"


def read(name: str) -> dict[str, dict[int, Mapping[str, float]]]:
    """Return the figures of kept boots by command line and index."""
    boots: dict[str, dict[int, Mapping[str, float]]] = defaultdict(dict)
    for line in (KEPT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        boots[row["command_line"]][row["index"]] = row["figures"]
    return boots


def main() -> int:
    """Print a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", action="store_true", help="each build, too")
    each = parser.parse_args().each
    print("what | builds | changes | verdicts | pairs")
    boots = read("unchanged")
    indices = sorted(set(boots["none"]) & set(boots["other"]))
    for key in UNCHANGED:
        by_line = {line: [boots[line][index][key] for index in indices] for line in ("none", "other")}
        found = list(builds(key, by_line["none"], by_line["other"]))
        print(told(f"other command line: {key}", found, each))
        found = [build for values in by_line.values() for build in builds(key, values[::2], values[1::2])]
        print(told(f"other layouts: {key}", found, each))
        turned = by_line["other"][len(indices) // 2 :] + by_line["other"][: len(indices) // 2]
        print(told(f"both: {key}", list(builds(key, by_line["none"], turned)), each))
    slowed = read("slowdowns")["none"]
    order = sorted(slowed)
    for name, before, after in SLOWDOWNS:
        a = [slowed[index][REQUEST + before] for index in order]
        b = [slowed[index][REQUEST + after] for index in order]
        found = [build for shift in SHIFTS for build in builds(REQUEST + after, a, b[shift:] + b[:shift])]
        print(told(name, found, each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
