"""The report of run records: what it says of what passed, failed, was not measured, or is hostile."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_runs import (
    RTT,
    failed_record,
    flat,
    hostile_record,
    phased_record,
    run_record,
    section,
    texts,
    unmeasured_record,
    with_series,
)

from perfcheck.model.record import ComparisonRecord, ExpectationRecord, RunRecord
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import cases
from perfcheck.report.document import Chain, Document, Evidence, Fold, Paragraph, Table, Tone
from perfcheck.report.html import render_html
from perfcheck.report.markdown import render_markdown
from perfcheck.report.run import Given, Source, run_document
from perfcheck.report.sound import require_sound


def document_of(*records: RunRecord, baseline: RunRecord | None = None) -> Document:
    beside = {} if baseline is None else {records[0].scenario.name: Source(record=baseline)}
    made = run_document(Given(sources=[Source(record=record) for record in records], baselines=beside))
    require_sound(made)
    return made


def table_with(blocks: object, heading: str) -> Table:
    return next(block for block in flat(blocks) if isinstance(block, Table) and heading in block.headings)  # type: ignore[arg-type]


def test_what_passed_is_said_in_one_sentence() -> None:
    document = document_of(run_record())
    first = document.lead[0]
    assert isinstance(first, Paragraph)
    assert (first.text, first.tone) == ("Nothing failed: 2 of 2 checks of 1 scenario passed.", Tone.GOOD)
    assert document.badge is not None
    assert document.badge.text == "passed"


def test_what_failed_comes_first_with_cause_and_advice() -> None:
    document = document_of(run_record(), failed_record())
    table = table_with(document.lead, "what failed")
    assert [cell.text for cell in table.rows[0]] == [
        "slow", f"{RTT} is 21 ms, expected <= 15ms; {RTT}@bulk went from 16 ms to 21 ms (+31.2 %), margin 5 %",
        "bufferbloat (93 %)",
        "links[0].queue: 1bdp -> 8bdp; kernel.release: 6.11 -> 6.12", "Shorten the queue.",
    ]  # fmt: skip
    anchors = [one.anchor for one in document.sections]
    assert anchors == ["verdicts", "run-2-slow", "run-1-office"]
    assert table.rows[0][0].anchor == "run-2-slow"


def test_what_was_not_measured_is_no_pass_and_has_no_cause() -> None:
    document = document_of(unmeasured_record(reason="link 0: asked for 20 ms\nthe machine was busy"))
    assert document.badge is not None
    assert document.badge.tone is Tone.BAD
    (row,) = table_with(document.lead, "what failed").rows
    assert [cell.text for cell in row] == [
        "gone", "could not measure: link 0: asked for 20 ms", "not judged, because it was not measured",
        "measure again: perfcheck run scenarios/gone.yaml",
    ]  # fmt: skip


def test_what_is_unavailable_is_said_with_its_reason() -> None:
    missing = ExpectationRecord(
        metric="nic.rx_softirq_pct", expected="<= 5%", actual=None, verdict=Verdict.INVALID, reason="no BTF"
    )
    document = document_of(run_record(expectations=(missing,), unavailable={"nic": "no BTF in this kernel"}))
    assert "no BTF in this kernel" in texts(document)
    assert "Nothing failed" in texts(document) or "UNAVAILABLE" in texts(document)


VERDICTS = st.sampled_from([Verdict.PASS, Verdict.FAIL, Verdict.REGRESSED, Verdict.INCONCLUSIVE, Verdict.IMPROVED])


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(VERDICTS, max_size=4), min_size=1, max_size=4))
def test_verdicts_add_up(rows: list[list[Verdict]]) -> None:
    records = [
        run_record(
            f"s{number}", number,
            expectations=tuple(
                ExpectationRecord(metric=RTT, expected=f"<= {place}ms", actual=1.0, verdict=verdict)
                for place, verdict in enumerate(verdicts) if verdict in (Verdict.PASS, Verdict.FAIL)
            ),
            comparisons=tuple(
                ComparisonRecord(
                    metric=f"{RTT}@s{place}", baseline=1.0, current=1.0, change_pct=0.0, detectable_pct=1.0,
                    verdict=verdict,
                )
                for place, verdict in enumerate(verdicts) if verdict not in (Verdict.PASS, Verdict.FAIL)
            ),
        )
        for number, verdicts in enumerate(rows)
    ]  # fmt: skip
    document = document_of(*records)
    every = [case for record in records for case in cases(record)]
    blocks = section(document, "verdicts").blocks if len(records) > 1 else document.sections[0].blocks
    told = [
        row[table.headings.index("verdict")].text
        for table in flat(blocks) if isinstance(table, Table) and "verdict" in table.headings
        for row in table.rows
    ]  # fmt: skip
    assert sorted(told) == sorted(case.row.verdict for case in every)
    failed = sum(case.status.value == "failed" for case in every)
    assert document.badge is not None
    checks = "1 check" if failed == 1 else f"{failed} checks"
    assert document.badge.text == (f"{checks} failed" if failed else "passed")


def test_runs_of_one_scenario_are_told_apart_and_are_not_more_scenarios() -> None:
    document = document_of(run_record(number=1), run_record(number=2), failed_record())
    assert document.title == "Network performance of 3 runs of 2 scenarios"
    assert "2 of 6 checks failed, in slow. 3 runs of 2 scenarios in all." in texts(document)
    named = {row[0].text for row in table_with(section(document, "verdicts").blocks, "scenario").rows}
    assert named == {"office (2026-01-02T03:04:01+00:00)", "office (2026-01-02T03:04:02+00:00)", "slow"}


def test_a_record_that_failed_without_a_check_that_did_is_no_pass() -> None:
    document = document_of(run_record(verdict=Verdict.REGRESSED))
    assert "Nothing failed" not in texts(document)
    assert document.badge is not None
    assert document.badge.text == "1 check failed"
    assert "the record's verdict is REGRESSED, but none of its checks failed; measure it again" in texts(document)


def test_the_chain_and_the_evidence_are_told_apart_from_their_figures() -> None:
    blocks = flat(section(document_of(run_record()), "-bottleneck").blocks)
    (chain,) = [block for block in blocks if isinstance(block, Chain)]
    assert (chain.states, chain.lags) == (("bufferbloat", "long round trips"), ("within 100 ms",))
    (evidence,) = [block for block in blocks if isinstance(block, Evidence)]
    assert evidence.speaks_for == ("round trips grow with the queue",)
    assert any("tcp.rtt_us.p99 (21 ms) > 3" in repr(block) for block in blocks if isinstance(block, Fold))


def test_links_are_told_with_what_was_asked_and_measured() -> None:
    part = section(document_of(run_record()), "-network")
    table = table_with(part.blocks, "asked")
    rows = [[cell.text for cell in row] for row in table.rows]
    assert ["links[0]", "client > server", "delay", "10 ms", "median 10.1 ms (min 10.05 ms, p90 10.2 ms)"] in rows
    assert ["links[0]", "server > client", "loss", "0 %", "0 of 120 packets"] in rows


def test_phases_have_columns() -> None:
    part = section(document_of(phased_record()), "-metrics")
    assert table_with(part.blocks, "before").headings == ("metric", "whole time", "before", "after")


def test_an_older_record_is_told_to_lack_subjects() -> None:
    line = run_record(entries=()).model_dump(mode="json", by_alias=True)
    for key in ("subjects", "phases"):
        line.pop(key)
    assert "it has no figures of subjects and phases" in texts(document_of(RunRecord.model_validate(line)))


def test_the_metrics_that_matter_stand_before_all_others() -> None:
    asked = ExpectationRecord(metric="tcp.limited_app_pct", expected="<= 30%", actual=20.0, verdict=Verdict.PASS)
    blocks = section(document_of(failed_record(expectations=(asked,))), "-metrics").blocks
    (table,) = (block for block in blocks if isinstance(block, Table))
    # What regressed, what was asked for, what the evidence names; tcp.limited_cwnd_pct is none of these.
    assert [row[0].text for row in table.rows] == [f"{RTT}@bulk", "tcp.limited_app_pct", RTT]
    assert [cell.text for cell in table.rows[0][1:4]] == ["21 ms", "20 ms", "22 ms"]
    assert "The other 6 values are in the folded tables" in table.caption
    folds = [block for block in blocks if isinstance(block, Fold)]
    assert folds
    assert not any(fold.printed for fold in folds)


def test_what_failed_for_one_reason_is_said_once() -> None:
    missing = [
        ComparisonRecord(
            metric=name, baseline=1.0, current=None, change_pct=None, detectable_pct=None, reason="not there",
            verdict=Verdict.INVALID,
        )
        for name in ("tcp.rtt_us.p50", RTT)
    ]  # fmt: skip
    part = section(document_of(run_record(comparisons=missing)), "run-1-office")
    said = [block.text for block in part.blocks if isinstance(block, Paragraph) and block.tone is Tone.BAD]
    assert len(said) == 1
    assert said[0].startswith(f"tcp.rtt_us.p50, {RTT}: ")


def test_side_by_side_the_record_of_a_is_what_b_is_compared_with() -> None:
    compared = ComparisonRecord(
        metric=RTT, baseline=20_000.0, current=21_000.0, change_pct=5.0, detectable_pct=1.0, verdict=Verdict.PASS
    )
    a = run_record(number=1)
    b = run_record(number=2, sides=("cubic", "bbr"), comparisons=(compared,), expectations=())
    document = document_of(a, b)
    assert [one.anchor for one in document.sections] == ["run-1-office"]
    assert "this run: 3 trials" in texts(document)
    assert "baseline: 3 trials" in texts(document)


def test_a_baseline_record_gives_its_trials_and_what_differs() -> None:
    before = run_record(number=9, environment={"kernel.release": "6.1"})
    compared = ComparisonRecord(
        metric=RTT, baseline=21_000.0, current=21_000.0, change_pct=0.0, detectable_pct=1.0, verdict=Verdict.PASS
    )
    document = document_of(run_record(comparisons=(compared,)), baseline=before)
    assert "baseline: 3 trials" in texts(document)
    rows = [
        [cell.text for cell in row]
        for row in table_with(section(document, "-changed").blocks, "the baseline record").rows
    ]
    assert ["environment.kernel.release", "6.1", "6.12"] in rows


HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m${7*7}{{7*7}}\u202e|`"


def test_hostile_texts_are_texts() -> None:
    document = document_of(hostile_record(lambda usual: f"{usual}{HOSTILE}"))
    page = render_html(document)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "49" not in document.title
    assert "\x1b" not in render_markdown(document)


def test_names_of_a_record_are_no_part_of_a_specification_but_as_data(tmp_path: Path) -> None:
    hostile = "datum.x'] || alert(1)"
    record = with_series(run_record(entries=(hostile,)), tmp_path / "s.parquet")
    for chart in document_of(record).charts():
        for layer in chart.spec["layer"]:
            for transform in layer.get("transform", ()):
                assert "alert" not in repr(transform)
            for channel in layer.get("encoding", {}).values():
                fields = [one.get("field") for one in (channel if isinstance(channel, list) else [channel])]
                assert {field for field in fields if field is not None} <= chart.columns.keys()


@pytest.mark.parametrize("count", [1, 12])
def test_a_page_stays_small(count: int) -> None:
    document = document_of(*[failed_record(f"s{number}", number) for number in range(count)])
    assert len(render_html(document)) < 2_000_000 + 10_000 * max(count - 10, 0)
