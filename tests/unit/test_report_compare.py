"""The page of a comparison: what it says of two records, in words, figures and tables, and that nothing breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from compared_sides import RATE, RTT, RUNS, hostile_sides, paired, profile, side, with_series
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.cli import main
from perfcheck.model.record import ComparisonRecord, RunRecord, ScenarioRef
from perfcheck.model.verdict import Verdict
from perfcheck.report.charts.distribution import Side
from perfcheck.report.charts.forest import Change, forest
from perfcheck.report.charts.lines import Labels
from perfcheck.report.charts.pairs import pairs
from perfcheck.report.compare.environment import environment_blocks
from perfcheck.report.compare.page import MOST_RUN_CHARTS, document
from perfcheck.report.compare.sides import Compared
from perfcheck.report.compare.words import result
from perfcheck.report.document import Chart, Document, Fold, Table, Tone
from perfcheck.report.html import render_html
from perfcheck.report.sound import require_sound
from perfcheck.testing import make_unmeasured_record

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e"
LABELS = Labels(name="a-chart", title="a title", quantity="change", unit="pct")


def page(*compared: Compared) -> Document:
    made = document(compared)
    require_sound(made)
    return made


def charts(made: Document) -> dict[str, Chart]:
    return {chart.name: chart for chart in made.charts()}


def test_the_result_says_what_moved_by_how_much_and_what_did_not() -> None:
    text = result(paired(side(), side(rate=80e6)))
    assert text.startswith("In 9 interleaved pairs, 1 of ")
    assert "Worse with B: app.throughput_bps from 90 Mbit/s to 80 Mbit/s (-11.1 %, interval -11." in text
    assert "Not moved beyond the margin: tcp.rtt_us.p50 (+0.0 %; a change of" in text
    assert "would have been seen" in text
    assert "Better with B: app.throughput_bps" in result(paired(side(), side(rate=99e6)))


def test_what_cannot_be_judged_is_said_and_makes_a_page() -> None:
    lost = Compared(before=side(), after=make_unmeasured_record("the link was not as asked"))
    assert result(lost) == "Nothing could be judged: the link was not as asked."
    made = page(lost)
    assert made.badge is not None
    assert made.badge.text == "INVALID"
    render_html(made)
    undecided = ComparisonRecord(
        metric=RATE, baseline=1e6, current=2e6, change_pct=100.0, detectable_pct=None, verdict=Verdict.INCONCLUSIVE,
        unit="bps",
    )  # fmt: skip
    open_ = Compared(before=side(), after=side(comparisons=(undecided,)))
    assert "Not decided: app.throughput_bps (+100 %)." in result(open_)


def test_the_forest_has_each_metric_with_its_interval_and_margin_by_layer() -> None:
    compared = paired(side(), side(rate=80e6, rtt=21_000.0))
    chart = charts(page(compared))["changes-1"]
    assert chart.columns["metric"][:2] == [RATE, RTT]
    told = {one.metric: one for one in compared.after.comparisons}
    for row, metric in enumerate(chart.columns["metric"]):
        one = told[str(metric)]
        assert chart.columns["change"][row] == pytest.approx(one.change_pct, rel=1e-4)
        assert chart.columns["margin"][row] == one.margin_pct
        assert chart.columns["verdict"][row] == one.verdict.value
        assert one.interval_pct is not None
        assert [chart.columns[end][row] for end in ("low", "high")] == pytest.approx(one.interval_pct, rel=1e-4)


PCT = st.floats(-500, 1e6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(PCT, PCT, PCT, st.floats(0, 100)), min_size=1, max_size=8))
def test_nothing_of_a_forest_lies_beyond_its_axis(asked: list[tuple[float, float, float, float]]) -> None:
    changes = [
        Change(metric=f"m{number}", group="tcp", change_pct=change, interval_pct=(min(a, b), max(a, b)),
               margin_pct=margin, word="PASS", tone=Tone.GOOD)
        for number, (change, a, b, margin) in enumerate(asked)
    ]  # fmt: skip
    chart = forest(LABELS, changes)
    across = [layer["encoding"]["x"] for layer in chart.spec["layer"]]
    low, high = next(x["scale"]["domain"] for x in across if "field" in x)
    assert low < 0 < high
    for name in ("at", "from", "to", "worse", "better"):
        assert all(low <= value <= high for value in chart.columns[name] if isinstance(value, int | float))
    cut = [text is not None for text in chart.columns["cut"]]
    assert cut == [not low - 1e-3 <= one.change_pct <= high + 1e-3 for one in changes if one.change_pct is not None]


def test_single_runs_are_joined_as_the_pairs_that_they_are() -> None:
    before, after = side(), side(rate=80e6)
    trials = list(after.trials)
    trials[3] = trials[3].model_copy(update={"valid": False, "invalid_reason": "disturbed"})
    chart = charts(page(paired(before, after.model_copy(update={"trials": tuple(trials)}))))["runs-1-1"]
    assert len(chart.columns["pair"]) == RUNS - 1
    kept = [place for place in range(RUNS) if place != 3]
    values = [before.trials[place].metrics[RATE] / 1e6 for place in kept]
    assert chart.columns["before"] == pytest.approx(values, rel=1e-4)
    assert all(change == pytest.approx(-11.1, abs=0.6) for change in chart.columns["change"])


def test_sides_of_unlike_number_are_dots() -> None:
    chart = pairs(LABELS, Side(name="A", values=[1.0, 2.0]), Side(name="B", values=[3.0]))
    assert chart.columns["side"].count("A") == 3
    assert not pairs(LABELS, Side(name="A", values=[]), Side(name="B", values=[])).columns["pair"]


def test_what_differs_is_marked_and_what_does_not_is_folded() -> None:
    ref = ScenarioRef(name="example", digest="d", file="f", conditions={"links[0].delay": "10ms"})
    before = side(environment={"kernel.release": "6.1", "cpu.count": "2"}, scenario=ref)
    after = side(
        environment={"kernel.release": "6.12", "cpu.count": "2", "kernel.cmdline": "quiet"},
        scenario=ref.model_copy(update={"conditions": {"links[0].delay": "20ms"}}),
    )  # fmt: skip
    table, fold = environment_blocks(Compared(before=before, after=after))
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["≠ links[0].delay", "10ms", "20ms"], ["≠ kernel.release", "6.1", "6.12"], ["≠ kernel.cmdline", "-", "quiet"],
    ]  # fmt: skip
    assert isinstance(fold, Fold)
    assert "cpu.count" in str(fold.blocks)
    assert "Neither settings nor environments differ" in str(environment_blocks(Compared(before=before, after=before)))


def test_two_kernels_are_called_by_their_releases_and_settings_by_themselves() -> None:
    before, after = (side(environment={"kernel.release": release}) for release in ("6.1", "6.12"))
    assert Compared(before=before, after=after, names=("a.json", "b.json")).side_texts == ("kernel 6.1", "kernel 6.12")
    assert Compared(before=before, after=before, names=("a.json", "b.json")).side_texts == ("a.json", "b.json")
    sides = ("file", "sysctl net.ipv4.tcp_rmem=1 2 3")
    assert paired(before, after, sides).side_texts == ("as the file says", sides[1])
    assert paired(before, after, sides).chart_names == ("A: as the file says", "B: tcp_rmem=1 2 3")


def test_functions_that_grew_and_shrank_are_drawn_and_told() -> None:
    made = page(paired(side(), side(profiles={"rpc": profile()})))
    chart = charts(made)["functions-1-1"]
    assert chart.columns["name"] == ["tcp_ack", "nft_do_chain [nf_tables]"]
    assert chart.columns["change"] == [50, -60]
    assert chart.columns["way"] == ["grew", "shrank"]
    said = str(made.sections)
    assert "B runs 10 fewer instructions a request (-1 %): 1,000 with A, 990 with B." in said
    assert "1 functions grew and 1 shrank" in said
    assert "softirqs -10" in said


def test_courses_of_both_sides_lie_over_one_another(tmp_path: Path) -> None:
    before, after = with_series(tmp_path)
    chart = charts(page(paired(before, after)))["course-1-1"]
    known = [value for value in chart.columns["mean0"] if value is not None]
    assert known
    assert set(known) == {10.5}
    assert {value for value in chart.columns["mean1"] if value is not None} == {20.5}
    assert {value for value in chart.columns["low1"] if value is not None} == {20}
    assert {value for value in chart.columns["high1"] if value is not None} == {21}
    (tmp_path / "runs.parquet").unlink()
    assert "There are no charts over time. A: its time series" in str(page(paired(before, after)).sections)


def test_several_scenarios_have_an_overview_that_leads_to_each_and_few_charts() -> None:
    compared = [paired(side(f"s{number}"), side(f"s{number}", rate=80e6)) for number in range(20)]
    made = page(*compared)
    (overview,) = (block for block in made.lead if isinstance(block, Table))
    assert [row[0].anchor for row in overview.rows] == [section.anchor for section in made.sections]
    assert all(row[1].text == "PASS" for row in overview.rows)
    assert sum(name.startswith("runs-") for name in charts(made)) <= MOST_RUN_CHARTS
    assert made.badge is not None
    assert made.badge.text == "REGRESSED"
    with pytest.raises(ValueError, match="nothing is compared"):
        document(())


def test_hostile_names_stay_text() -> None:
    text = render_html(page(paired(*hostile_sides(lambda _: HOSTILE), (HOSTILE, HOSTILE))))
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def written(folder: Path, name: str, *records: RunRecord) -> Path:
    path = folder / name
    path.write_text("".join(f"{record.to_json()}\n" for record in records))
    return path


def test_compare_writes_all_forms_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path, "a.json", side(), side("gone"))
    b = written(tmp_path, "b.json", side(rate=80e6))
    assert main(["compare", str(a), str(b), "--html", str(tmp_path / "x.html"), "--md", str(tmp_path / "x")]) == 1
    assert f"report written to {tmp_path}/x.html" in capsys.readouterr().err
    assert (tmp_path / "x.html").read_text().startswith("<!DOCTYPE html>")
    assert "app.throughput_bps" in (tmp_path / "x").read_text()


def test_a_page_that_cannot_be_written_is_bad_usage_before_anything_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = written(tmp_path, "a.json", side())
    assert main(["compare", str(a), str(a), "--html", str(tmp_path)]) == 2
    found = capsys.readouterr()
    assert "cannot write a report: Is a directory" in found.err
    assert found.out == ""
    assert main(["ab", "scenarios/wan-bulk-20ms.yaml", "--a", "file", "--b", "file", "--report", "x.txt"]) == 2
    assert "x.txt: a report's name ends with .html, .md or .pdf" in capsys.readouterr().err
