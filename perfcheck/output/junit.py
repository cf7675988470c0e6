"""JUnit XML of records from runs without pytest: a suite for each scenario, with its metrics as properties."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import junit_xml

from perfcheck.errors import OutputError, UsageError
from perfcheck.model.record import RunRecord
from perfcheck.output.case_lines import KeyLines
from perfcheck.output.cases import Case, Status, cases
from perfcheck.output.properties import environment_properties, metric_properties
from perfcheck.output.rows import scenario_label
from perfcheck.system.files import require_report_writable, write_report


class JunitOutput:
    """Collects records and writes one report when closed, in one piece."""

    def __init__(self, path: Path, lines: Mapping[str, KeyLines] = MappingProxyType({})) -> None:
        """Touch nothing until `open`; `lines` are those of the keys of scenario files, by the file's name."""
        self._path = path
        self._lines = lines
        self._suites: list[junit_xml.TestSuite] | None = None

    @property
    def name(self) -> str:
        """Name of the format."""
        return "junit"

    def open(self) -> None:
        """See that the folder can be written, so that a wrong path is told before minutes of measuring."""
        try:
            require_report_writable(self._path)
        except OSError as error:
            raise UsageError(f"{self._path}: cannot write a JUnit report: {error.strerror}") from error
        self._suites = []

    def write(self, record: RunRecord) -> None:
        """Add a suite."""
        properties = dict(environment_properties(record.environment)) | dict(metric_properties(record))
        traffic_s = sum(trial.traffic_s for trial in record.trials)
        found = cases(record, lines=self._lines.get(record.scenario.file))
        self._add(scenario_label(record), found, record.started_at, properties, traffic_s)

    def close(self) -> None:
        """Write the file anew; a reader never sees half a report."""
        if self._suites is None:
            return
        suites, self._suites = self._suites, None
        text = junit_xml.to_xml_report_string(suites, encoding="utf-8")
        try:
            write_report(self._path, text.encode())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot write a JUnit report: {error.strerror}") from error

    def _add(
        self, label: str, found: tuple[Case, ...], started_at: str, properties: Mapping[str, str],
        traffic_s: float = 0.0,
    ) -> None:  # fmt: skip
        """Add a suite; the time of the traffic is its first case's, which all others share."""
        if self._suites is None:
            raise UsageError(f"{self._path}: written to before it was opened")
        tests = [_test(case) for case in found]
        if tests:
            tests[0].elapsed_sec = traffic_s or None
        self._suites.append(junit_xml.TestSuite(label, tests, timestamp=started_at, properties=dict(properties)))


def _test(case: Case) -> junit_xml.TestCase:
    test = junit_xml.TestCase(case.name, classname=case.scenario, file=case.file, line=case.line)
    add = {
        Status.FAILED: test.add_failure_info,
        Status.ERROR: test.add_error_info,
        Status.SKIPPED: test.add_skipped_info,
    }.get(case.status)
    if add is not None:
        add(message=case.headline, output=case.text)
    return test
