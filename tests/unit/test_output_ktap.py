"""KTAP: read again by a parser of its own, written from the kernel's Documentation/dev-tools/ktap.rst."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.cli import main
from perfcheck.model.record import ComparisonRecord, DiagnosisRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict, overall
from perfcheck.output import KtapOutput
from perfcheck.output.cases import Status, cases
from perfcheck.testing import make_record, make_unmeasured_record

RTT: Final = "tcp.rtt_us.p99"
RESULT: Final = re.compile(r"(?P<word>ok|not ok) (?P<number>[0-9]+) (?P<name>[^#]*?)(?: # (?P<rest>.*))?")
PLAN: Final = re.compile(r"1\.\.([0-9]+)")
END_OF_LOG: Final = re.compile("List of all partitions:|Kernel panic - not syncing: VFS:|reboot: System halted")
"""Where the kernel's own parser stops reading a log."""
HOSTILE: Final = st.text(
    st.sampled_from("ab1 -#\n\r\t\x1b.:|>\u2028\u00a0é") | st.characters(), max_size=12
) | st.sampled_from([
    "ok 1 x", "not ok 1 x", "1..9", "KTAP version 1", "# Subtest: x", "Subtest: x", "x # SKIP y", "- x", "\nok 2 y",
    "Kernel panic - not syncing: VFS: x", "reboot: System halted", "List of all partitions:",
    "List  of all partitions:", "::error::x", "measured", "",
])  # fmt: skip


@dataclass(kw_only=True)
class Parsed:
    """One result, with what was told before it, and its subtests where it has a plan of its own."""

    ok: bool
    number: int
    name: str
    directive: str
    data: str
    told: list[str] = field(default_factory=list)
    tests: list[Parsed] | None = None


def parsed(lines: Sequence[str], depth: int = 0) -> list[Parsed]:
    """Return the results of one level; every line must be one of the format's, and the plan must hold."""
    indent = "  " * depth
    assert lines[0] == f"{indent}KTAP version 1"
    rest = [line.removeprefix(indent) for line in lines[1:] if not line.startswith(f"{indent}# Subtest: ")]
    plan = PLAN.fullmatch(rest[0])
    assert plan is not None, rest[0]
    found = list(results(rest[1:], depth))
    assert [one.number for one in found] == list(range(1, int(plan[1]) + 1))
    return found


def results(lines: Sequence[str], depth: int) -> Iterator[Parsed]:
    told: list[str] = []
    inner: list[str] = []
    for line in lines:
        if line.startswith("  "):
            inner.append(line)
        elif line.startswith("#"):
            assert not line.startswith("# Subtest:")
            told.append(line)
        else:
            match = RESULT.fullmatch(line)
            assert match is not None, line
            directive, _, data = (match["rest"] or "").partition(" ")
            if directive not in ("SKIP", "ERROR"):
                directive, data = "", match["rest"] or ""
            tests = parsed([one.removeprefix("  ") for one in inner], 0) if inner else None
            yield Parsed(
                ok=match["word"] == "ok", number=int(match["number"]), name=match["name"], directive=directive,
                data=data, told=told, tests=tests,
            )  # fmt: skip
            told, inner = [], []
    assert not inner, depth
    assert all(line.startswith("# Totals: ") for line in told)


def printed(*records: RunRecord) -> str:
    stream = io.StringIO()
    output = KtapOutput(len(records), write=lambda text: print(text, file=stream))
    output.open()
    for record in records:
        output.write(record)
    output.close()
    output.close()
    return stream.getvalue()


def comparison(verdict: Verdict, **changes: Any) -> ComparisonRecord:
    known: dict[str, Any] = {
        "metric": RTT, "baseline": 40e3, "current": 46e3, "change_pct": 15.0, "interval_pct": (13.0, 17.0),
        "detectable_pct": 3.0, "margin_pct": 5.0, "verdict": verdict,
    }  # fmt: skip
    return ComparisonRecord(**(known | changes))


def record_of(*parts: ExpectationRecord | ComparisonRecord, **changes: Any) -> RunRecord:
    known: dict[str, Any] = {
        "expectations": tuple(part for part in parts if isinstance(part, ExpectationRecord)),
        "comparisons": tuple(part for part in parts if isinstance(part, ComparisonRecord)),
        "verdict": overall(part.verdict for part in parts),
    }
    return make_record({RTT: (45e3, 46e3, 47e3)}, **(known | changes))


def test_a_failed_case_has_its_values_and_the_cause() -> None:
    cause = DiagnosisRecord(cause="bufferbloat", confidence=0.93, chain=("queue", "delay"), advice="Use fq_codel.")
    text = printed(record_of(comparison(Verdict.REGRESSED), diagnosis=(cause,), reproduce="perfcheck run wan.yaml"))
    assert text == (
        "KTAP version 1\n"
        "1..1\n"
        "  KTAP version 1\n"
        "  # Subtest: example\n"
        "  1..1\n"
        "  # value 46 ms, baseline 40 ms, change +15.0 %, interval +13.0 to +17.0 %, detectable 3 %, "
        "verdict REGRESSED\n"
        "  # raw unit=us actual=46000 baseline=40000 change_pct=15 interval_pct=13..17 margin_pct=5 detectable_pct=3\n"
        "  # failed tcp.rtt_us.p99 went from 40 ms to 46 ms (+15.0 %), margin 5 %\n"
        "  #   expected   at most 42 ms (baseline + 5 %)\n"
        "  #   actual     46 ms  (median of 3 runs, 45 ms to 47 ms)\n"
        "  #   baseline   40 ms\n"
        "  #   change     +15.0 %  (interval +13.0 % to +17.0 %)\n"
        "  #   margin     5 %; the smallest change that this run could detect is 3 %\n"
        "  #   layer      TCP (transport): round-trip time of delivered segments, p99\n"
        "  not ok 1 baseline:tcp.rtt_us.p99\n"
        "# file scenarios/example.yaml\n"
        "# cause bufferbloat (93 %)\n"
        "# chain queue -> delay\n"
        "# advice Use fq_codel.\n"
        "# reproduce perfcheck run wan.yaml\n"
        "not ok 1 example\n"
        "# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:0\n"
    )


@pytest.mark.parametrize(
    ("record", "ok", "directive", "inner"),
    [
        (record_of(comparison(Verdict.PASS)), True, "", [(True, "")]),
        (record_of(comparison(Verdict.IMPROVED)), True, "", [(True, "")]),
        (record_of(comparison(Verdict.INCONCLUSIVE)), True, "", [(True, "")]),
        (record_of(comparison(Verdict.NO_BASELINE, baseline=None)), True, "SKIP", [(True, "SKIP")]),
        (record_of(comparison(Verdict.PASS), comparison(Verdict.NO_BASELINE, baseline=None)), True, "",
         [(True, ""), (True, "SKIP")]),
        (record_of(comparison(Verdict.PASS), comparison(Verdict.REGRESSED)), False, "", [(True, ""), (False, "")]),
        (make_unmeasured_record("no iperf3"), False, "ERROR", [(False, "ERROR")]),
        (record_of(comparison(Verdict.INVALID), unavailable={RTT: "no BTF"}), True, "SKIP", [(True, "SKIP")]),
        (record_of(comparison(Verdict.INVALID), comparison(Verdict.PASS)), False, "", [(False, "ERROR"), (True, "")]),
    ],
)  # fmt: skip
def test_what_each_verdict_is(record: RunRecord, ok: bool, directive: str, inner: list[tuple[bool, str]]) -> None:
    (found,) = parsed(printed(record).splitlines())
    assert (found.ok, found.directive) == (ok, directive)
    assert [(one.ok, one.directive) for one in found.tests or ()] == inner
    assert (found.data != "") is (directive != "")


def test_the_time_of_the_traffic_is_told() -> None:
    record = make_record()
    trials = tuple(trial.model_copy(update={"traffic_s": 1.5}) for trial in record.trials)
    (found,) = parsed(printed(record.model_copy(update={"trials": trials})).splitlines())
    assert found.data == "time=4500ms"


def hostile(text: str, other: str) -> RunRecord:
    """Return a record with the texts wherever one is free."""
    record = record_of(
        comparison(Verdict.REGRESSED, reason=text), comparison(Verdict.NO_BASELINE, metric=other or RTT, baseline=None),
        ExpectationRecord(metric="diagnosis", expected=text, actual=other, verdict=Verdict.FAIL),
        diagnosis=(DiagnosisRecord(cause=text, confidence=0.5, chain=(other, text), advice=other),),
        reproduce=text, warnings=(text, other), environment={"kernel.release": other},
    )  # fmt: skip
    return record.model_copy(update={"scenario": record.scenario.model_copy(update={"name": text, "file": other})})


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=3), HOSTILE)
def test_no_text_changes_what_a_parser_counts(texts: list[tuple[str, str]], reason: str) -> None:
    records = [*(hostile(*pair) for pair in texts), make_unmeasured_record(reason or "none")]
    shown = printed(*records)
    lines = shown.split("\n")[:-1]
    assert shown.splitlines() == lines
    assert all(line == line.rstrip() and not END_OF_LOG.search(line) for line in lines)
    found = parsed(lines)
    assert len(found) == len(records)
    for one, record in zip(found, records, strict=True):
        expected = cases(record)
        assert len(one.tests or ()) == len(expected)
        assert [test.ok for test in one.tests or ()] == [
            case.status in (Status.PASSED, Status.SKIPPED) for case in expected
        ]
        names = [one.name, *(test.name for test in one.tests or ())]
        assert all(name and name == name.strip() and not name.startswith("-") for name in names)
        # Parsers that go by names take the first result of the parent's name for its own.
        assert one.name not in names[1:]
        assert f"  # Subtest: {one.name}" in lines
    counts = Counter(case.status for record in records for case in cases(record))
    assert lines[-1] == (
        f"# Totals: pass:{counts[Status.PASSED]} fail:{counts[Status.FAILED]} xfail:0 xpass:0 "
        f"skip:{counts[Status.SKIPPED]} error:{counts[Status.ERROR]}"
    )


def test_standard_output_has_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    old, new = make_record({RTT: (40e3, 40.1e3, 40.2e3)}), make_record({RTT: (60e3, 60.1e3, 60.2e3)})
    lone = make_record({RTT: (60e3,)}, name="other")
    (tmp_path / "a.json").write_text(f"{old.to_json()}\n")
    (tmp_path / "b.json").write_text(f"{new.to_json()}\n{lone.to_json()}\n")
    words = ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main([*words, "--output", "ktap", "--junit", str(tmp_path / "j.xml")]) == 1
    told = capsys.readouterr()
    (found,) = parsed(told.out.splitlines())
    assert not found.ok
    assert "::error " in told.err
    assert "other: only in" in told.err
    assert "1 scenario: 1 REGRESSED" in told.err
    report = (tmp_path / "j.xml").read_bytes()
    # Everything else is as without the option.
    assert main([*words, "--junit", str(tmp_path / "j.xml")]) == 1
    again = capsys.readouterr()
    assert (tmp_path / "j.xml").read_bytes() == report
    assert sorted((told.err).splitlines()) == sorted((again.out + again.err).splitlines())


def test_one_standard_output_for_one_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text(
        "scenario: s\nhosts: {a: {}, b: {}}\nlinks: [{between: [a, b], delay: 1ms}]\n"
        "traffic: [{iperf3: {from: a, to: b, duration: 1s}}]\n"
    )
    assert main(["run", str(tmp_path / "s.yaml"), "--json", "-", "--output", "ktap"]) == 2
    assert "--json -: standard output is taken by --output ktap; name a file" in capsys.readouterr().err


def test_a_run_that_is_refused_prints_no_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "not-there.yaml", "--output", "ktap"]) == 2
    assert capsys.readouterr().out == ""
