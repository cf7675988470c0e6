"""What keys of `expect` and `tolerance` name: subjects and phases exist, and the metric is measured of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from perfcheck.errors import Problem
from perfcheck.model.catalogue import Catalogue
from perfcheck.model.own_metric import is_own_name, with_own
from perfcheck.model.subject import DIAGNOSIS, MetricKey, SubjectKind, direction_name, read_key
from perfcheck.model.traffic import GENERATORS
from perfcheck.scenario.own_metrics import own_metrics_of, reporting
from perfcheck.scenario.phases import check_phases, mistaken_phase
from perfcheck.scenario.suggest import hint
from perfcheck.scenario.tree import Document

_KINDS: Final[Mapping[SubjectKind, str]] = {
    SubjectKind.TRAFFIC: "a traffic entry",
    SubjectKind.HOST: "a host",
    SubjectKind.DIRECTION: "a link's direction (a>b)",
}


def check_subjects(document: Document) -> Iterator[Problem]:
    """Yield a problem for each traffic entry whose name is taken, and for each key that asks for what there is not."""
    yield from _names(document)
    subjects = subjects_of(document)
    known, reporters = with_own(own_metrics_of(document)), _reporters(document)
    yield from check_phases(document, subjects)
    for block in ("expect", "tolerance"):
        for text, entry in document.table(block).items():
            message = _mistake(document, text, subjects, block, known) or _silent(text, reporters)
            if message is not None:
                yield document.problem(entry.place, document.find((block, text)).path, message)


def subjects_of(document: Document) -> dict[str, SubjectKind]:
    """Return every subject that the file has, as far as it can be read."""
    found = dict.fromkeys(document.table("hosts"), SubjectKind.HOST)
    found |= dict.fromkeys(_entries(document).values(), SubjectKind.TRAFFIC)
    for index in range(len(document.listing("links"))):
        here, there = (document.text("links", index, "between", end) for end in (0, 1))
        if here is not None and there is not None:
            for name in (direction_name(here, there), direction_name(there, here)):
                found[name] = SubjectKind.DIRECTION
    return found


def _entries(document: Document) -> dict[int, str]:
    """Return each traffic entry's name by its index: its own, or the one that it has without."""
    found = {}
    for index in range(len(document.listing("traffic"))):
        generator = next((key for key in document.table("traffic", index) if key in GENERATORS), None)
        name = document.text("traffic", index, "name") or (f"{generator}-{index + 1}" if generator else None)
        if name is not None:
            found[index] = name
    return found


def _names(document: Document) -> Iterator[Problem]:
    hosts = document.table("hosts")
    first: dict[str, int] = {}
    for index, name in _entries(document).items():
        other = first.setdefault(name, index)
        taken = f"traffic[{other}]" if other != index else f"hosts.{name}" if name in hosts else None
        if taken is not None:
            # The entry without a name of its own cannot be mended there.
            at = index if document.get("traffic", index, "name") is not None else other
            found = document.find(("traffic", at, "name"))
            message = f"the name {name!r} is taken by {taken}; every subject needs a name of its own"
            yield document.problem(found.node.place, found.path, message)


def _reporters(document: Document) -> dict[str, tuple[str, ...]]:
    """Return the names of the entries that report each own metric."""
    names = _entries(document)
    return {
        metric: tuple(names[index] for index in sorted(indices) if index in names)
        for metric, indices in reporting(document).items()
    }


def _silent(text: str, reporters: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return a message where an own metric is asked of an entry that does not report it."""
    metric, _, rest = text.partition("@")
    subject = rest.partition("/")[0]
    having = reporters.get(metric, ())
    if not is_own_name(metric) or not subject or not having or subject in having:
        return None
    return f"{subject} does not report {metric}, which is reported by {', '.join(having)}"


def _mistake(
    document: Document, text: str, subjects: Mapping[str, SubjectKind], block: str, known: Catalogue
) -> str | None:  # fmt: skip
    try:
        key = read_key(text)
    except ValueError as error:
        return str(error) if "@" in text or "/" in text else None
    return _mistaken_subject(key, subjects, block, known) or mistaken_phase(document, key)


def _mistaken_subject(
    key: MetricKey, subjects: Mapping[str, SubjectKind], block: str, known: Catalogue
) -> str | None:  # fmt: skip
    if key.subject is None:
        return None
    kind = subjects.get(key.subject)
    if key.metric == DIAGNOSIS and block == "expect":
        allowed: tuple[SubjectKind, ...] = (SubjectKind.TRAFFIC,)
    elif key.metric in known:
        allowed = known[key.metric].subjects
    else:
        return None
    if not allowed:
        return f"{key.metric} is a metric of the whole run only: leave out @{key.subject}"
    if kind in allowed:
        return None
    return _wrong_subject(key, kind, allowed, subjects)


def _wrong_subject(
    key: MetricKey, kind: SubjectKind | None, allowed: tuple[SubjectKind, ...], subjects: Mapping[str, SubjectKind]
) -> str:  # fmt: skip
    candidates = [name for name, of in subjects.items() if of in allowed]
    wanted = " or ".join(_KINDS[each] for each in allowed)
    known = f"; there is {', '.join(candidates[:10])}" if candidates else ""
    if kind is not None:
        return f"{key.subject} is {_KINDS[kind]}, and {key.metric} is asked of {wanted}{known}"
    meant = hint(key.subject or "", candidates) or known
    return f"unknown subject {key.subject!r}: {key.metric} is asked of {wanted}{meant}"
