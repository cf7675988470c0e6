"""The page of a history: every run is drawn once, findings are marked, and long histories stay small."""

from __future__ import annotations

import numpy as np
import pytest
from history_stories import NOISE, RTT, bursting, shifted, story
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcheck.compare.outlook import outlook
from perfcheck.report.charts.history import BEYOND, MOST_DOTS, RUN, drawn, news
from perfcheck.report.document import Chart, Document, Table, Tone
from perfcheck.report.history.page import document
from perfcheck.report.history.story import Story
from perfcheck.report.html import render_html
from perfcheck.report.sound import require_sound


def page(*stories: Story) -> Document:
    made = document(RTT, "a meaning", stories)
    require_sound(made)
    return made


def charts(made: Document) -> dict[str, Chart]:
    return {chart.name: chart for chart in made.charts()}


def test_every_run_is_drawn_once_and_changes_and_bursts_are_marked() -> None:
    found = charts(page(story(shifted()), story(bursting())))
    first, second = found["history-1"].columns, found["history-2"].columns
    assert first["run"] == [*range(1, 71)]
    assert [run for run, change in zip(first["run"], first["change"], strict=True) if change is not None] == [41]
    assert [change for change in first["change"] if change is not None] == [40.5]
    assert [run for run, kind in zip(second["run"], second["kind"], strict=True) if kind == BEYOND] == [31, 32]
    assert set(second["kind"]) == {RUN, BEYOND}
    assert set(first["number"]) == {1, 2}
    levels = dict(zip(first["number"], first["level"], strict=True))
    assert levels[1] == pytest.approx(20, rel=0.01)
    assert levels[2] == pytest.approx(23, rel=0.01)


def test_values_are_those_of_the_runs_in_a_readable_unit() -> None:
    values = charts(page(story([20_113.0, 19_987.5])))["history-1"]
    assert values.columns["value"] == [20.113, 19.988]
    assert "(ms)" in str(values.spec)


def test_the_sums_of_the_last_level_stand_on_the_same_axis_of_runs() -> None:
    found = charts(page(story(shifted())))
    assert found["sums-1"].columns["run"] == [*range(41, 71)]
    assert len(found["sums-1"].columns["upper"]) == 30
    assert "sums-1" not in charts(page(story([1.0] * 5)))


def test_few_runs_have_no_band_and_need_no_sums() -> None:
    for values in ([5.0, 5.0], [0.0] * 30):
        made = page(story(values))
        chart = charts(made)["history-1"]
        assert len(chart.columns["run"]) == len(values)
        assert ("area" in str(chart.spec)) == (len(values) > 20)
        assert "<html" in render_html(made)


def test_one_run_alone_is_told_and_not_drawn() -> None:
    made = page(story([20_000.0]))
    assert not charts(made)
    assert "('the only run', 'run 000000000000 of 2024-01-01 00:00, 20 ms')" in str(made.sections)
    assert "too few runs" in str(made.lead)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=60))
def test_no_run_lies_at_the_edge_of_the_axis(values: list[float]) -> None:
    chart = charts(page(story(values)))["history-1"]
    (dots,) = (layer for layer in chart.spec["layer"] if layer["mark"]["type"] == "point")
    low, high = dots["encoding"]["y"]["scale"]["domain"]
    assert all(low < value < high for value in chart.columns["value"])


def test_the_legend_names_only_what_is_there() -> None:
    spec = str(charts(page(story([20.0, 21.0, 20.5])))["history-1"].spec)
    assert BEYOND not in spec
    assert BEYOND in str(charts(page(story(bursting())))["history-1"].spec)


def test_the_page_says_what_changed_last_and_how_it_is_to_be_taken() -> None:
    lead = page(story(shifted())).lead
    assert "the last change of level was from 19.96 ms to 23 ms (+15.2 %, worse)" in lead[0].text  # type: ignore[union-attr]
    assert lead[0].tone is Tone.BAD  # type: ignore[union-attr]
    better = page(story([-value for value in shifted()]))
    assert better.lead[0].tone is Tone.GOOD  # type: ignore[union-attr]
    quiet = page(story(bursting()))
    assert not any("last change" in str(block) for block in quiet.lead)


def test_the_overview_leads_to_each_series() -> None:
    made = page(story(shifted()), story(bursting(), scenario="lan"))
    (overview,) = (block for block in made.lead if isinstance(block, Table))
    assert [(row[0].text, row[0].anchor) for row in overview.rows] == [("wan", "series-1"), ("lan", "series-2")]


def test_a_long_history_makes_no_endless_page() -> None:
    values = [20_000 + 100 * float(noise) + (3_000 if place >= 2_345 else 0) for place, noise in enumerate(NOISE)]
    made = page(story(values))
    columns = charts(made)["history-1"].columns
    assert len(columns["run"]) <= MOST_DOTS
    assert [change for change in columns["change"] if change is not None] == [2_345.5]
    assert len(render_html(made)) < 1_000_000


def test_names_cannot_break_the_page() -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    text = render_html(page(story([1.0, 2.0], scenario=hostile, point=f'a="{hostile}&', emulators="\x1b[31m\u202e")))
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_any_history_makes_a_sound_page(values: list[float]) -> None:
    drawn_runs = [len(chart.columns["value"]) for chart in page(story(values)).charts() if "value" in chart.columns]
    assert drawn_runs == ([len(values)] if len(values) > 1 else [])


def test_of_a_long_history_the_first_and_last_run_and_the_ends_of_levels_are_drawn() -> None:
    count = MOST_DOTS + 501
    found = outlook(np.r_[NOISE[: count // 2], 10 + NOISE[: count - count // 2]])
    places = drawn(found)
    assert len(places) <= MOST_DOTS
    assert {0, count - 1} <= set(places)
    assert {end for level in found.levels for end in (level.first, level.last)} <= set(places)
    assert all(set(news(each)) <= set(range(count)) for each in found.excursions)
