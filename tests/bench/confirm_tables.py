"""What came of testing causes by intervention, as tables: results of tests/bench/fault_confirm.py."""

from __future__ import annotations

import json
import lzma
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]

COLUMNS: Final = ("confirmed", "refuted", "open", "cannot")
"""The answers: `open` was measured and not decided, `cannot` could not be measured."""
WANTED: Final[Mapping[bool, str]] = {True: "confirmed", False: "refuted"}
"""The answer that a test of the true cause should give, and that of a wrong one."""
HEADS: Final = {
    "true": ("confirmed", "refuted", "not decided"),
    "wrong": ("refuted", "confirmed", "not decided"),
}
METRICS: Final = ("unchanged", "relieved")
"""Keys of a row that hold all metrics of its runs; a stored file lacks them."""
Z95: Final = 1.959964
"""Quantile of the normal distribution: a two-sided interval of 95 %."""


def read_rows(results: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results, packed (.xz) or not; none where there is no file."""
    if not results.exists():
        return []
    packed = results.suffix == ".xz"
    text = lzma.decompress(results.read_bytes()).decode() if packed else results.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def store(rows: Iterable[Row], path: Path) -> None:
    """Write the last test of each combination and cause to a packed file, without the metrics of its runs."""
    kept = [{key: value for key, value in row.items() if key not in METRICS} for row in latest(rows)]
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in kept)
    path.write_bytes(lzma.compress(text.encode(), preset=9))


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the last test of each combination and cause."""
    return list({str(row["key"]): row for row in rows}.values())


def tally(rows: Iterable[Row], of: Callable[[Row], str]) -> dict[str, Counter[str]]:
    """Return how often each answer was given, by what `of` makes of a row."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(of(row), Counter())[row["answer"]] += 1
    return counts


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, 0..1 (Wilson, JASA 22, 1927); (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    share = hits / of
    centre = share + Z95**2 / (2 * of)
    half = Z95 * math.sqrt(share * (1 - share) / of + Z95**2 / (4 * of**2))
    scale = 1 + Z95**2 / of
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def markdown(tests: Sequence[Row]) -> Iterator[str]:
    """Yield a table: of each cause how often it was confirmed as the true one, and refuted as a wrong one."""
    titles = [f"{kind}: {answer}" for kind, answers in HEADS.items() for answer in answers]
    yield f"| cause tested | {' | '.join(titles)} |"
    yield "|---|" + "---:|" * 6
    kinds = {right: [row for row in tests if row["right"] is right] for right in WANTED}
    counts = {right: tally(rows, lambda row: str(row["tested"])) for right, rows in kinds.items()}
    for cause in sorted(counts[True].keys() | counts[False].keys()):
        yield _line(cause, {right: each.get(cause, Counter()) for right, each in counts.items()})
    yield _line("all", {right: Counter(str(row["answer"]) for row in rows) for right, rows in kinds.items()})


def totals(tests: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence on the true causes and one on the wrong ones, with 95 % intervals."""
    for right, wanted in WANTED.items():
        answers = Counter(str(row["answer"]) for row in tests if row["right"] is right)
        hits, of = answers[wanted], answers.total()
        low, high = wilson(hits, of)
        share = 100 * hits / of if of else 0.0
        kind = "true" if right else "wrong"
        measured = sum(row["right"] is right and bool(row["effects"]) for row in tests)
        yield (
            f"Of {of} {kind} causes {hits} were {wanted}: {share:.0f} % (95 % interval {100 * low:.0f} to "
            f"{100 * high:.0f} %); {measured} of the {of} by runs in which the limit was relieved."
        )


def _line(title: str, counts: Mapping[bool, Counter[str]]) -> str:
    cells = []
    for right, wanted in WANTED.items():
        answers, other = counts[right], WANTED[not right]
        of = answers.total()
        cells += [f"{answers[wanted]} / {of}" if of else "", *map(_shown, (answers[other], _undecided(answers)))]
    return f"| {title} | {' | '.join(cells)} |"


def _undecided(answers: Counter[str]) -> int:
    return answers["open"] + answers["cannot"]


def _shown(number: int) -> str:
    return str(number) if number else ""


def print_report(rows: Sequence[Row]) -> None:
    """Print both tables and the totals."""
    console = Console(width=120)
    tests = latest(rows)
    for title, right in (("true", True), ("wrong", False)):
        of_kind = [each for each in tests if each["right"] is right]
        console.print(_table(f"{title} causes, by the cause tested", of_kind))
    for text in totals(tests):
        console.print(text)


def _table(title: str, tests: Collection[Row]) -> Table:
    table = Table("cause", *COLUMNS, title=title, box=None, header_style="bold")
    for cause, counts in sorted(tally(tests, lambda row: str(row["tested"])).items()):
        table.add_row(cause, *(str(counts[name]) for name in COLUMNS))
    whole = Counter(str(row["answer"]) for row in tests)
    table.add_row("all", *(str(whole[name]) for name in COLUMNS))
    return table
