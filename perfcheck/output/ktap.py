"""KTAP, version 1, for the CI of kernels: a subtest for each scenario, its cases with values and units.

The format is the kernel's Documentation/dev-tools/ktap.rst. Names have no `#`, and no line can be taken for another
kind of line, so that nothing of a file changes what a parser counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from perfcheck.model.printable import printable
from perfcheck.model.record import RunRecord
from perfcheck.output.case_lines import KeyLines
from perfcheck.output.cases import Case, Status, cases
from perfcheck.output.rows import cause_text, remarks, scenario_label
from perfcheck.system.printing import say

VERSION: Final = "KTAP version 1"
_INDENT: Final = "  "
_RAW: Final = ("unit", "actual", "expected", "baseline", "change_pct", "interval_pct", "margin_pct", "detectable_pct")
"""Properties of a case that a program reads, in this order; the text before them is for people."""
_END_OF_LOG: Final = re.compile(r"(List of all partitions|Kernel panic - not syncing|reboot):")
"""Words of a kernel's console (a guest's, in a reason) at which parsers of logs stop reading."""
_FLOAT: Final = re.compile(r"-?[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?")
_COUNTED: Final[Mapping[Status, str]] = MappingProxyType(
    {Status.PASSED: "pass", Status.FAILED: "fail", Status.SKIPPED: "skip", Status.ERROR: "error"}
)


class KtapOutput:
    """Prints the results of each scenario as they come, and the totals at the end.

    The plan is printed with the first scenario: what ends before is no result.
    """

    def __init__(
        self, planned: int, lines: Mapping[str, KeyLines] = MappingProxyType({}),
        write: Callable[[str], None] = say,
    ) -> None:  # fmt: skip
        """Take how many scenarios will be written; `lines` are those of the keys of scenario files."""
        self._planned = planned
        self._lines = lines
        self._write = write
        self._number = 0
        self._counts: Counter[Status] = Counter()

    @property
    def name(self) -> str:
        """Name of the format."""
        return "ktap"

    def open(self) -> None:
        """Forget earlier records."""
        self._number = 0
        self._counts = Counter()

    def write(self, record: RunRecord) -> None:
        """Print one record."""
        found = cases(record, lines=self._lines.get(record.scenario.file))
        if self._number == 0:
            self._write(f"{VERSION}\n1..{self._planned}")
        self._number += 1
        self._counts.update(case.status for case in found)
        self._write("\n".join(_subtest(record, found, self._number)))

    def close(self) -> None:
        """Print the totals, as the kernel's own tests do; safe to call twice."""
        if self._number:
            self._write(totals(self._counts))
        self._number = 0


def totals(counts: Mapping[Status, int]) -> str:
    """Return the line of totals of kselftest; what it also counts (xfail, xpass) does not exist here."""
    told = {word: counts.get(status, 0) for status, word in _COUNTED.items()}
    return (
        f"# Totals: pass:{told['pass']} fail:{told['fail']} xfail:0 xpass:0 skip:{told['skip']} error:{told['error']}"
    )


def _subtest(record: RunRecord, found: Sequence[Case], number: int) -> Iterator[str]:
    """Yield the lines of one scenario, its cases within."""
    name = _name(scenario_label(record))
    yield f"{_INDENT}{VERSION}"
    yield f"{_INDENT}# Subtest: {name}"
    yield f"{_INDENT}1..{len(found)}"
    for place, case in enumerate(found, start=1):
        for line in _of_case(case, place, name):
            yield f"{_INDENT}{line}"
    for text in _of_run(record):
        yield _diagnostic(text)
    yield _result(_together(found), number, name, _why(found, record))


def _of_case(case: Case, number: int, scenario: str) -> Iterator[str]:
    """Yield a case's diagnostic lines and its result."""
    for text in (_values(case), _raw(case)):
        if text:
            yield _diagnostic(text)
    if case.status is Status.FAILED:
        yield _diagnostic(f"failed {case.headline}")
        yield from map(_diagnostic, case.details.splitlines())
    name = _name(case.name)
    # A parser takes a result of the parent's name for the parent's own.
    name = f"case {name}" if name == scenario else name
    yield _result(case.status, number, name, case.headline if case.status in (Status.SKIPPED, Status.ERROR) else "")


def _values(case: Case) -> str:
    """Return `value 95.64 Mbit/s, baseline 96.1 Mbit/s, change -0.5 %, ...`; empty where nothing was measured."""
    row = case.row
    if not row.value:
        return ""
    against = "baseline" if "baseline" in case.properties else "expected"
    parts = (
        ("value", row.value), (against, row.against), ("change", row.change), ("interval", row.interval),
        ("detectable", row.detectable), ("verdict", row.verdict),
    )  # fmt: skip
    return ", ".join(f"{word} {text}" for word, text in parts if text)


def _raw(case: Case) -> str:
    """Return the exact figures as `key=value`, in base units."""
    known = [(key, case.properties[key]) for key in _RAW if case.properties.get(key)]
    # A unit alone says nothing.
    return f"raw {' '.join(f'{key}={_word(text)}' for key, text in known)}" if len(known) > 1 else ""


def _word(text: str) -> str:
    """Return a value without blanks, in nine digits: `1.5 to 2.5` as `1.5..2.5`, `<= 60ms` as `<=60ms`."""
    return "..".join(_FLOAT.sub(lambda found: f"{float(found[0]):.9g}", part) for part in text.split(" to ")).replace(
        " ", ""
    )


def _of_run(record: RunRecord) -> Iterator[str]:
    """Yield what concerns a scenario as a whole: where it is, its cause, what to do, and how to measure it again."""
    kernel = record.environment.get("kernel.release", "")
    yield f"file {record.scenario.file}{f', kernel {kernel}' if kernel else ''}"
    if record.diagnosis[0].confidence > 0:
        yield f"cause {cause_text(record.diagnosis[0])}"
        if record.diagnosis[0].chain:
            yield f"chain {' -> '.join(record.diagnosis[0].chain)}"
        if record.diagnosis[0].advice:
            yield f"advice {record.diagnosis[0].advice}"
    yield from (f"note {text}" for text in remarks(record))
    if record.reproduce:
        yield f"reproduce {record.reproduce}"


def _together(found: Sequence[Case]) -> Status:
    """Return the status of a scenario: it fails with any of its cases, and is skipped where all are."""
    seen = {case.status for case in found}
    if Status.FAILED in seen:
        return Status.FAILED
    if Status.ERROR in seen:
        return Status.ERROR if seen <= {Status.ERROR, Status.SKIPPED} else Status.FAILED
    return Status.SKIPPED if seen == {Status.SKIPPED} else Status.PASSED


def _why(found: Sequence[Case], record: RunRecord) -> str:
    """Return what stands behind a scenario's result: a reason, or how long its traffic took."""
    status = _together(found)
    if status in (Status.SKIPPED, Status.ERROR):
        return next((case.headline for case in found if case.status is status), "")
    taken_ms = round(1000 * sum(trial.traffic_s for trial in record.trials))
    return f"time={taken_ms}ms" if taken_ms else ""


def _result(status: Status, number: int, name: str, why: str) -> str:
    ok = "ok" if status in (Status.PASSED, Status.SKIPPED) else "not ok"
    directive = {Status.SKIPPED: "SKIP", Status.ERROR: "ERROR"}.get(status, "")
    told = " ".join(part for part in (directive, _line(why).strip()) if part)
    return f"{ok} {number} {name}{f' # {told}' if told else ''}"


def _diagnostic(text: str) -> str:
    return f"# {_line(text)}".rstrip()


def _name(text: str) -> str:
    r"""Return a name as a description: one line, no `#`, no dash in front, which parsers take for a separator."""
    shown = _line(" ".join(printable(text).replace("#", r"\x23").split())) or "unnamed"
    return rf"\x2d{shown[1:]}" if shown.startswith("-") else shown


def _line(text: str) -> str:
    """Return a text on one line that ends no log."""
    return _END_OF_LOG.sub(r"\1 -", printable(text))
