"""One session in its forms: each counts the same failures, errors and skips, and the exit status follows from them."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest
from any_records import records
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_output_ktap import parsed, printed

from perfcheck.cli.github_action import outputs_of
from perfcheck.export.records import samples
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord
from perfcheck.model.subject import read_key
from perfcheck.model.verdict import Verdict, exit_status
from perfcheck.output.cases import cases
from perfcheck.output.job_summary import markdown
from perfcheck.output.junit import JunitOutput
from perfcheck.output.rows import scenario_label
from perfcheck.report.html import render_html
from perfcheck.report.markdown import render_markdown
from perfcheck.report.run import Given, Source, run_document
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.bench import judged
from perfcheck.testing import make_record, make_scenario

GFM: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SESSIONS: Final = st.lists(records(), min_size=1, max_size=3, unique_by=scenario_label)
FEW: Final = settings(max_examples=20, deadline=None)
PASSED, FAILED, ERROR, SKIPPED = "passed", "failed", "error", "skipped"


def outcome(record: RunRecord, part: ExpectationRecord | ComparisonRecord) -> str:
    """Return what README.md's table of verdicts says of a check."""
    if part.verdict in (Verdict.FAIL, Verdict.REGRESSED):
        return FAILED
    if part.verdict is Verdict.NO_BASELINE:
        return SKIPPED
    if part.verdict is not Verdict.INVALID:
        return PASSED
    spec = CATALOGUE.get(read_key(part.metric).metric)
    needs = {part.metric, *(spec.needs if spec else ("command",) if part.metric.startswith("app.") else ())}
    return SKIPPED if needs & record.unavailable.keys() else ERROR


def outcomes(record: RunRecord) -> list[str]:
    if record.invalid_reason is not None:
        return [ERROR]
    parts: tuple[ExpectationRecord | ComparisonRecord, ...] = (*record.expectations, *record.comparisons)
    return [outcome(record, part) for part in parts] or [PASSED]


def status_of(found: Sequence[RunRecord]) -> int:
    seen = {each for record in found for each in outcomes(record)}
    return 1 if FAILED in seen else 3 if ERROR in seen else 0


@FEW
@given(SESSIONS)
def test_the_exit_status_is_what_the_checks_say(found: list[RunRecord]) -> None:
    assert exit_status(record.verdict for record in found) == status_of(found)
    for record in found:
        assert [case.status.value for case in cases(record)] == outcomes(record)
        failed = [value for family, _, value in samples(record) if family.name == "perfcheck_case_failed"]
        assert failed == [float(status_of([record]) != 0)]
    told = dict(outputs_of(None, found, status_of(found), {}))
    counts = Counter(each for record in found for each in outcomes(record))
    assert int(told["failed"]) == counts[FAILED] + counts[ERROR]
    assert (told["verdict"] in ("FAIL", "REGRESSED")) == bool(counts[FAILED])
    assert (told["verdict"] == "INVALID") == (status_of(found) == 3)


@FEW
@given(SESSIONS)
def test_junit_counts_the_same_and_keeps_its_own_rules(found: list[RunRecord]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = JunitOutput(Path(folder) / "report.xml")
        output.open()
        for record in found:
            output.write(record)
        output.close()
        root = ElementTree.fromstring((Path(folder) / "report.xml").read_bytes())
    tags = {FAILED: "failure", ERROR: "error", SKIPPED: "skipped"}
    assert root.tag == "testsuites"
    suites = root.findall("testsuite")
    assert len(suites) == len(found)
    for suite, record in zip(suites, found, strict=True):
        expected = outcomes(record)
        tests = suite.findall("testcase")
        shown = [next((word for word, tag in tags.items() if test.find(tag) is not None), PASSED) for test in tests]
        assert shown == expected
        assert all(len(test) <= 1 and test.attrib["name"] and test.attrib["classname"] for test in tests)
        assert suite.attrib["name"] == scenario_label(record)
        numbers = {word: int(suite.attrib[word]) for word in ("tests", "failures", "errors", "skipped")}
        assert numbers == {
            "tests": len(expected), "failures": expected.count(FAILED), "errors": expected.count(ERROR),
            "skipped": expected.count(SKIPPED),
        }  # fmt: skip
        assert all(float(test.attrib.get("time", 0)) >= 0 for test in tests)
        told = {each.attrib["name"]: each.attrib["value"] for each in suite.iterfind("properties/property")}
        for name, metric in record.metrics.items():
            assert float(told[name]) == metric.value
    for word in ("tests", "failures", "errors"):
        assert int(root.attrib[word]) == sum(int(suite.attrib[word]) for suite in suites)


@FEW
@given(SESSIONS)
def test_ktap_counts_the_same(found: list[RunRecord]) -> None:
    lines = printed(*found).split("\n")[:-1]
    results = parsed(lines)
    for result, record in zip(results, found, strict=True):
        expected = outcomes(record)
        words = [
            {"SKIP": SKIPPED, "ERROR": ERROR}.get(one.directive, PASSED if one.ok else FAILED)
            for one in result.tests or ()
        ]
        assert words == expected
        assert result.ok == (FAILED not in expected and ERROR not in expected)
    counts = Counter(each for record in found for each in outcomes(record))
    assert lines[-1] == (
        f"# Totals: pass:{counts[PASSED]} fail:{counts[FAILED]} xfail:0 xpass:0 skip:{counts[SKIPPED]} "
        f"error:{counts[ERROR]}"
    )


@FEW
@given(SESSIONS)
def test_pages_count_the_same(found: list[RunRecord]) -> None:
    counts = Counter(each for record in found for each in outcomes(record))
    document = run_document(Given(sources=[Source(record=record) for record in found]))
    assert document.badge is not None
    number, word = (counts[FAILED], "failed") if counts[FAILED] else (counts[ERROR], "not measured")
    badge = f"{number} check{'s' * (number != 1)} {word}" if number else "passed"
    assert document.badge.text == badge
    assert badge in render_html(document)
    assert badge in render_markdown(document)
    summary = markdown([case for record in found for case in cases(record)])
    head = re.match(r"## perfcheck: (.*)\n", summary)
    assert head is not None
    tally = {name: int(each) for each, name in re.findall(r"(\d+) ([A-Z_]+)", head[1])}
    assert sum(tally.values()) == sum(counts.values())
    assert tally.get("FAIL", 0) + tally.get("REGRESSED", 0) == counts[FAILED]
    assert tally.get("INVALID", 0) == counts[ERROR]
    assert tally.get("NO_BASELINE", 0) + tally.get("UNAVAILABLE", 0) == counts[SKIPPED]
    rows = rows_of(summary)
    assert len(rows) == sum(counts.values()) + 1
    assert Counter(row[rows[0].index("verdict")] for row in rows[1:]) == tally
    assert all(len(row) == len(rows[0]) for row in rows)


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the first table, as a parser of Markdown sees them."""
    rows: list[list[str]] = []
    for token in GFM.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level > 2:
            rows[-1].append("".join(child.content for child in token.children or () if child.type == "text"))
        elif token.type == "table_close":
            break
    return rows


def halved(runs: int, lacking: dict[str, str]) -> RunRecord:
    """Return a record of half the goodput, whose `expect` line of another metric could not be judged."""
    line = ExpectationRecord(metric="tcp.rtt_us.p99", expected="<= 1s", actual=None, verdict=Verdict.INVALID)
    return make_record(
        {"app.throughput_bps": (50e6,) * runs}, unavailable=lacking, verdict=Verdict.INVALID, expectations=(line,),
        environment={"emulators": ["fake"]},
    )  # fmt: skip


class _Bench:
    """A bench that measures that."""

    def __init__(self, lacking: dict[str, str]) -> None:
        self.runs, self.lacking = 0, lacking

    def measure(self, runs: int, why: str = "") -> None:
        self.runs += runs

    def summary(self) -> RunRecord:
        return halved(self.runs, self.lacking)


@pytest.mark.parametrize("lacking", [{"tcp": "no BTF"}, {}], ids=["unavailable", "not measured"])
def test_what_cannot_be_judged_hides_no_regression_of_what_can(tmp_path: Path, lacking: dict[str, str]) -> None:
    scenario = make_scenario(repeat=3)
    runner = Runner.create(RunOptions(baseline=True, baseline_dir=tmp_path))
    good = make_record({"app.throughput_bps": (95e6, 95e6, 95e6)}, run_id="other", environment={"emulators": ["fake"]})
    runner.save_baseline(good)
    record = runner._against_baseline(scenario, _Bench(lacking))  # type: ignore[arg-type]
    assert [one.metric for one in record.comparisons if one.verdict is Verdict.REGRESSED] == ["app.throughput_bps"]
    assert record.verdict is Verdict.REGRESSED


def test_what_this_machine_cannot_measure_fails_no_build() -> None:
    for lacking, verdict in (({"tcp": "no BTF"}, Verdict.PASS), ({"iperf3": "not installed"}, Verdict.INVALID)):
        record = halved(3, lacking)
        assert judged(record, expectations=record.expectations).verdict is verdict
