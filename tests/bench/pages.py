"""Renews the parts of docs/ that are made from the rules and from the exam's figures: `make pages`.

A unit test says when that is due.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from perfcheck.diagnose import explain, explain_cause, load_rules
from perfcheck.model.causes import CAUSES

DOCS: Final = Path(__file__).parents[2] / "docs"
SCORES: Final = Path(__file__).parent / "campaign" / "faults" / "scores.json"
"""What `make report-diagnosis BENCH="--json ..."` wrote of the last exam."""
_MADE: Final = re.compile(r"(<!-- made: begin [^>]*-->\n)(.*)(<!-- made: end -->)", re.DOTALL)


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page with what belongs between its two marks."""
    rules = load_rules()
    scores = json.loads(SCORES.read_text(encoding="utf-8"))["causes"]
    yield DOCS / "rules.md", explain(rules)
    for cause in CAUSES:
        yield DOCS / "causes" / f"{cause}.md", explain_cause(rules, cause) + "\n" + how_often(cause, scores)


def how_often(cause: str, scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how often the cause was named rightly in the exam, as Markdown; nothing where no run had it."""
    if cause not in scores:
        return ""
    runs, first, among_two, named = (scores[cause][key] for key in ("runs", "first", "among_two", "named"))
    right = (
        f"Of the {named} runs in which it was named first, {first} had it." if named else "It was never named first."
    )
    return (
        "## How often it was right\n\n"
        f"The [exam](../diagnosis-report.md) has {runs} runs with this label. It was named first in {first} of them, "
        f"and was among the first two in {among_two}. {right}\n"
    )


def renewed(page: str, made: str) -> str:
    """Return the page with the made part in its place.

    Raises:
        ValueError: there are no marks.
    """
    text, times = _MADE.subn(lambda found: f"{found[1]}\n{made.strip()}\n\n{found[3]}", page)
    if times != 1:
        raise ValueError("no line '<!-- made: begin ... -->' with '<!-- made: end -->' after it")
    return text


def main() -> int:
    """Write what changed."""
    for path, made in pages():
        before = path.read_text(encoding="utf-8")
        after = renewed(before, made)
        if after != before:
            path.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(DOCS.parent)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
