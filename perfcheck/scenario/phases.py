"""The `phases` block, and the phases that keys of `expect` and `tolerance` name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Phased
from perfcheck.model.subject import DIAGNOSIS, MetricKey
from perfcheck.model.traffic import GENERATORS
from perfcheck.scenario.notation import duration_text
from perfcheck.scenario.suggest import hint
from perfcheck.scenario.tree import Document, Scalar
from perfcheck.system.place import Loc

DEFAULT_DURATION_NS: Final = 5 * 10**9
_PHASES: Final = "phases"


def check_phases(document: Document, taken: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each phase that is out of order or of time, or has the name of a subject (`taken`)."""
    begins = _begins(document)
    names = set(taken)
    for name, entry in document.table(_PHASES).items():
        if name in names:
            message = f"the name {name!r} is taken by a subject; a phase needs a name of its own"
            yield document.problem(entry.place, document.find((_PHASES, name)).path, message)
    for (before, earlier_ns), (name, begin_ns) in pairwise(begins.items()):
        if begin_ns <= earlier_ns:
            message = f"expected phases in ascending order: {before} begins at {duration_text(earlier_ns)}"
            yield _at(document, (_PHASES, name), message)
    yield from _out_of_time(document, begins)


def _out_of_time(document: Document, begins: dict[str, int]) -> Iterator[Problem]:
    warmup_ns = document.duration_ns("warmup") or 0
    end_ns = _traffic_end_ns(document)
    for name, begin_ns in begins.items():
        if begin_ns < warmup_ns:
            least = duration_text(warmup_ns)
            message = f"begins within the warm-up, which belongs to no phase: expected at least {least}"
            yield _at(document, (_PHASES, name), message)
        elif end_ns is not None and begin_ns >= end_ns:
            message = f"expected less than {duration_text(end_ns)}, when all measured traffic has ended"
            yield _at(document, (_PHASES, name), message)


def mistaken_phase(document: Document, key: MetricKey) -> str | None:
    """Return what is wrong with the phase of a key, as a message; None where it has none, or a right one."""
    spec = CATALOGUE.get(key.metric)
    known = document.table(_PHASES)
    if key.phase is None:
        if spec is None or spec.phased is not Phased.ONLY:
            return None
        example = next(iter(list(known)[1:]), "outage")
        return f"{key.metric} counts from the begin of a phase: write {key}/{example}"
    if spec is None:
        # What no metric is called has been told.
        return f"a diagnosis is of the whole time: leave out /{key.phase}" if key.metric == DIAGNOSIS else None
    if spec.phased is Phased.NEVER:
        return f"{key.metric} is measured over the whole time only: leave out /{key.phase}"
    if key.phase not in known:
        first = f"; this scenario has none: add phases: {{{key.phase}: 1s}}" if not known else hint(key.phase, known)
        return f"unknown phase {key.phase!r}{first}"
    if spec.phased is Phased.ONLY and key.phase == next(iter(known)):
        return f"{key.metric} compares with the first phase, which is {key.phase}: ask it of a later one"
    return None


def _begins(document: Document) -> dict[str, int]:
    """Return the begin of each phase whose time can be read."""
    found = {name: document.duration_ns(_PHASES, name) for name in document.table(_PHASES)}
    return {name: begin_ns for name, begin_ns in found.items() if begin_ns is not None}


def _traffic_end_ns(document: Document) -> int | None:
    """Return when the last of the measured traffic ends; None where that is not known beforehand."""
    ends = []
    for index in range(len(document.listing("traffic"))):
        for generator in document.table("traffic", index).keys() & GENERATORS:
            loc: Loc = ("traffic", index, generator)
            background = document.get(*loc, "background")
            if isinstance(background, Scalar) and background.value is True:
                continue
            if generator == "command" or document.get(*loc, "bytes") is not None:
                return None
            length_ns = document.duration_ns(*loc, "duration")
            length_ns = DEFAULT_DURATION_NS if length_ns is None else length_ns
            ends.append((document.duration_ns(*loc, "start") or 0) + length_ns)
    return max(ends, default=None)


def _at(document: Document, loc: Loc, message: str) -> Problem:
    found = document.find(loc)
    return document.problem(found.node.place, found.path, message)
