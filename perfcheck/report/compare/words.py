"""The result of a comparison in plain words: what moved by how much, what did not, what could have been seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from perfcheck.model.record import ComparisonRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.rows import detectable_text, interval_text, plain_pct, signed_pct, value_text
from perfcheck.report.compare.sides import Compared

MOST_NAMED: Final = 6
_HEARD: Final = {Verdict.REGRESSED: "Worse", Verdict.IMPROVED: "Better"}


def result(compared: Compared) -> str:
    """Return the one-paragraph result of a scenario."""
    return " ".join(_sentences(compared))


def _sentences(compared: Compared) -> Iterator[str]:
    after = compared.after
    if after.invalid_reason is not None:
        yield f"Nothing could be judged: {after.invalid_reason}."
        return
    if not after.comparisons:
        yield "No metric of both sides was compared."
        return
    runs = compared.runs
    sample = f"{runs[1]} interleaved pairs" if compared.paired else f"{runs[0]} runs of A and {runs[1]} of B"
    moved = compared.of(*_HEARD)
    judged = len(after.comparisons)
    yield f"In {sample}, {len(moved)} of {judged} metric{'s' if judged != 1 else ''} moved beyond the margin."
    for verdict, heard in _HEARD.items():
        found = compared.of(verdict)
        if found:
            yield f"{heard} with B: {_listed(map(_change, _largest(found)), '; ')}."
    yield from _unmoved(compared.of(Verdict.PASS))
    open_ = compared.of(Verdict.INCONCLUSIVE)
    if open_:
        yield f"Not decided: {_listed(map(_open, open_), '; ')}."
    missing = compared.of(Verdict.INVALID, Verdict.NO_BASELINE)
    if missing:
        yield f"Not compared: {_listed(f'{each.metric} ({each.reason or each.verdict.value})' for each in missing)}."


def _unmoved(same: Sequence[ComparisonRecord]) -> Iterator[str]:
    if not same:
        return
    moved_within = [each for each in same if each.change_pct is not None]
    names = _listed(
        (f"{each.metric} ({signed_pct(each.change_pct, each.margin_pct)}{_seen(each)})" for each in moved_within), "; "
    )
    others = _listed(f"{each.metric}{_seen(each)}" for each in same if each.change_pct is None)
    yield f"Not moved beyond the margin: {'; '.join(filter(None, (names, others)))}."


def _change(one: ComparisonRecord) -> str:
    values = " to ".join(value_text(value, one.unit) for value in (one.baseline, one.current))
    return f"{one.metric} from {values}{_told(one)}"


def _open(one: ComparisonRecord) -> str:
    return f"{one.metric}{_told(one)}"


def _told(one: ComparisonRecord) -> str:
    """Return ` (+3.1 %, interval +2.0 to +4.2 %)`, as far as it is known."""
    interval = interval_text(one.interval_pct, one.margin_pct)
    parts = (signed_pct(one.change_pct, one.margin_pct), f"interval {interval}" if interval else "")
    return f" ({', '.join(filter(None, parts))})" if any(parts) else ""


def _seen(one: ComparisonRecord) -> str:
    """Return how small a change could have been seen."""
    text = detectable_text(one, one.unit)
    if not text:
        return ""
    smallest = f"a value of {text.removeprefix('at ')}" if text.startswith("at ") else f"a change of {text}"
    return f"; {smallest} would have been seen"


def _largest(found: Iterable[ComparisonRecord]) -> list[ComparisonRecord]:
    return sorted(found, key=lambda each: -abs(each.change_pct or 0.0))


def _listed(texts: Iterable[str], separator: str = ", ") -> str:
    known = list(texts)
    more = len(known) - MOST_NAMED
    return separator.join(known[:MOST_NAMED]) + (f"{separator}and {more} more" if more > 0 else "")


def smallest_seen(one: ComparisonRecord) -> str:
    """Return the smallest change that could have been seen, for a table."""
    return detectable_text(one, one.unit) or plain_pct(one.detectable_pct)
