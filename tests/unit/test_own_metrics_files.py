"""A command's own metrics in scenario files: what is read, and the located errors of what is wrong."""

from __future__ import annotations

from typing import Final

import pytest
from scenario_texts import changed

from perfcheck.errors import ScenarioError
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.metric import Direction
from perfcheck.model.own_metric import is_own_name, path_of, pattern_of
from perfcheck.model.scenario import Scenario
from perfcheck.model.subject import SubjectKind
from perfcheck.scenario import load_text
from perfcheck.scenario.digest import conditions

TEXT: Final = changed(
    (
        "  - iperf3: {from: client, to: server, duration: 2s}\n",
        """\
  - name: cache
    command:
      host: client
      run: bench {server}
      report:
        format: json
        metrics:
          app.get_us.p99: {at: get.p99, unit: ms, better: lower, margin: 12%}
          app.hits_count: {at: /hits, unit: count, better: neither}
  - iperf3: {from: client, to: server, duration: 2s}
""",
    ),
    ("  diagnosis: none\n", '  app.get_us.p99: "<= 3ms"\n  app.get_us.p99@cache: "<= 3000"\n'),
)
METRICS: Final = "traffic[0].command.report.metrics"
REPORT: Final = "{at: get.p99, unit: ms, better: lower, margin: 12%}"


def loaded(*replacements: tuple[str, str]) -> Scenario:
    (scenario,) = load_text(changed(*replacements, text=TEXT), "x.yaml")
    return scenario


def mistakes(*replacements: tuple[str, str]) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        loaded(*replacements)
    return [line.removeprefix("x.yaml:").partition(" ")[2] for line in str(caught.value).splitlines()]


def test_own_metrics_are_those_of_the_catalogue_and_theirs() -> None:
    known = catalogue_of(loaded())
    assert set(known) == {*CATALOGUE, "app.get_us.p99", "app.hits_count"}
    spec = known["app.get_us.p99@cache"]
    assert (spec.unit, spec.direction, spec.margin_pct, spec.compared) == ("us", Direction.LOWER, 12.0, True)
    assert spec.subjects == (SubjectKind.TRAFFIC,)
    assert not known["app.hits_count"].compared, "what has no better is not compared unless a tolerance asks for it"


def test_expect_lines_are_read_in_the_metrics_own_unit() -> None:
    lines = {line.metric: line.threshold for line in loaded().expect}
    assert lines == {"tcp.rtt_us.p50": 60_000.0, "app.get_us.p99": 3000.0, "app.get_us.p99@cache": 3000.0}


def test_a_scenario_without_own_metrics_has_the_catalogue_itself() -> None:
    (plain,) = load_text(changed(), "x.yaml")
    assert catalogue_of(plain) is CATALOGUE


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("app.hits_count:", "app.latency_us.p99:", "app.latency_us.p99 is a metric of perfcheck itself"),
        ("app.hits_count:", "app.hits:", f"{METRICS}.app.hits: expected a name such as app.redis"),
        ("app.hits_count:", "tcp.hits_count:", "expected a name such as app.redis_get_us.p99"),
        ("app.hits_count:", "app.hits_count.p95:", "expected a name such as app.redis_get_us.p99"),
        (
            "unit: count",
            "unit: us",
            f"{METRICS}.app.hits_count.unit: the name app.hits_count says count: expected count",
        ),
        ("unit: ms", "unit: pct", "says us: expected us or ms or s, got 'pct'"),
        ("unit: ms", "unit: msec", f"{METRICS}.app.get_us.p99.unit: expected us, ms, s"),
        ("better: neither", "beter: neither", "unknown key; did you mean 'better'?"),
        (", better: neither", "", f"{METRICS}.app.hits_count: the key 'better' is missing"),
        (
            "margin: 12%",
            "margin: 12",
            "app.get_us.p99.margin: expected a percentage such as 5%, at most 1000%, got '12'",
        ),
        ("at: get.p99", "at: get..p99", "app.get_us.p99.at: expected keys joined by dots such as latency.p99"),
        ("at: /hits", "at: /hits, row: a", "app.hits_count.row: only format: csv has rows, and this is json"),
        ("format: json", "format: jsn", "traffic[0].command.report.format: expected json, jsonl, csv or regex"),
        ("format: json", "format: regex", "app.get_us.p99.at: expected one group, or a group (?P<value>...)"),
        (
            "app.get_us.p99:",
            "app.gets_us.p99:",
            "expect.app.get_us.p99: unknown metric; did you mean 'app.gets_us.p99'?",
        ),
        ("p99@cache", "p99@iperf3-2", "iperf3-2 does not report app.get_us.p99, which is reported by cache"),
        ("p99@cache", "p99@cach", "unknown subject 'cach': app.get_us.p99 is asked of a traffic entry; did you mean"),
    ],
)
def test_what_is_wrong_is_told_where_it_is(old: str, new: str, expected: str) -> None:
    told = mistakes((old, new))
    assert any(expected in line for line in told), told


def test_a_bad_expression_is_told_with_the_reason() -> None:
    told = mistakes(("format: json", "format: regex"), ("at: get.p99", "at: 'x([0-9]+'"), ("at: /hits", "at: 'h (.*)'"))
    (line,) = told
    assert "app.get_us.p99.at: expected a regular expression, got 'x([0-9]+'" in line
    assert "unterminated" in line


def test_a_broken_declaration_is_told_once_and_not_again_by_expect() -> None:
    assert len(mistakes(("unit: ms", "unit: pct"))) == 1


def test_entries_that_report_the_same_agree_on_what_it_is_worth() -> None:
    reporting = f"report: {{format: csv, metrics: {{app.get_us.p99: {REPORT}}}}}"
    other = f"  - command:\n      host: client\n      run: x\n      {reporting}\n"
    same = ("  - iperf3", f"{other}  - iperf3")
    loaded(same)
    (told,) = mistakes((f"app.get_us.p99: {REPORT}\n", f"app.get_us.p99: {REPORT.replace('12%', '13%')}\n"), same)
    assert told == (
        "traffic[1].command.report.metrics.app.get_us.p99.margin: traffic[0] reports app.get_us.p99, too, with margin: "
        "13%; give both the same"
    )


def test_what_is_reported_is_no_part_of_the_workload() -> None:
    before, other_place = loaded(), loaded(("at: get.p99", "at: get.p50"))
    stricter = loaded(("margin: 12%", "margin: 1%"))
    assert before.workload_digest == other_place.workload_digest == stricter.workload_digest
    assert before.digest != other_place.digest
    assert before.digest == stricter.digest
    name = "traffic[0].command.report.metrics.app.get_us.p99"
    assert conditions(other_place)[name] == "get.p50 unit=ms take=last"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("app.x_us", True), ("app.x_us.p99", True), ("app.redis_gets_per_s", True), ("app.x", False),
        ("app.x_us.p95", False), ("app._us", False), ("app.latency_us.p50", False), ("tcp.x_us", False),
        (f"app.{'x' * 60}_us", False),
    ],
)  # fmt: skip
def test_names_of_own_metrics(name: str, own: bool) -> None:
    assert is_own_name(name) is own


def test_a_pointer_reaches_keys_with_dots_and_slashes() -> None:
    assert path_of("/a.b/c~1d/e~0f/0") == ("a.b", "c/d", "e~f", "0")


def test_one_named_group_among_others_is_enough() -> None:
    assert pattern_of("(a|b) (?P<value>[0-9]+)").groups == 2
