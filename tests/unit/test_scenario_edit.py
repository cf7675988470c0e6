"""Values put into a scenario file's text: what is said afterwards, and that nothing else moved."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import UsageError
from perfcheck.scenario import read_text
from perfcheck.scenario.edit import with_values

HEAD = """\
# A path.
scenario: wan   # its name
hosts: {a: {}, b: {}}
links: [{between: [a, b], delay: 1ms}]
traffic:
  - iperf3: {from: a, to: b, duration: 1s}
"""
RTT, GOODPUT = "tcp.rtt_us.p50", "app.throughput_bps"


def edited(text: str, repeat: int | None = 9, **tolerance: float) -> str:
    return with_values(text, "wan.yaml", repeat=repeat, tolerance_pct=tolerance or {RTT: 7.5})


def lines_gone(before: str, after: str) -> list[str]:
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith("- ")]


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "# the end\n",
        "repeat: 3  # few\n",
        "repeat: 3\ntolerance: {app.throughput_bps: 2%}  # tight\n",
        "tolerance: {tcp.rtt_us.p50: 2%, app.throughput_bps: 2%}\nrepeat: 3\n",
        "tolerance:\n  # of the path\n  app.throughput_bps: 2%  # tight\n\n# the end\n",
        'tolerance:\n    tcp.rtt_us.p50: 2%\nexpect:\n  tcp.rtt_us.p50: "<= 60ms"\n',
        "matrix: {a.congestion: [cubic, reno]}",
        "expect: {tcp.rtt_us.p50: <= 60ms}\n...\n",
        "title: >\n  Two\n  lines\n",
        "tolerance: {}\n",
    ],
)
def test_the_values_are_there_and_the_rest_is_as_it_was(tail: str) -> None:
    text = HEAD + tail
    after = edited(text)
    for old, new in zip(read_text(text, "x").scenarios, read_text(after, "x").scenarios, strict=True):
        assert new.repeat == 9
        assert new.tolerance_pct == {**old.tolerance_pct, RTT: 7.5}
        assert new.model_copy(update={"repeat": old.repeat, "tolerance_pct": old.tolerance_pct, "digest": ""}) == (
            old.model_copy(update={"digest": ""})
        )
    assert all("repeat" in line or RTT in line or "{" in line for line in lines_gone(text, after))
    assert [word for word in text.split() if word.startswith("#")] == [
        word for word in after.split() if word.startswith("#")
    ]


def test_a_file_in_braces() -> None:
    traffic = "{iperf3: {from: a, to: b, duration: 1s}}"
    text = f"{{scenario: wan, hosts: {{a: {{}}, b: {{}}}}, links: [{{between: [a, b]}}], traffic: [{traffic}]}}"
    (scenario,) = read_text(edited(text), "x").scenarios
    assert (scenario.repeat, scenario.tolerance_pct) == (9, {RTT: 7.5})


def test_nothing_asked_changes_nothing() -> None:
    assert with_values(HEAD, "x", repeat=None, tolerance_pct={}) == HEAD


def test_a_value_behind_an_alias_is_told_with_what_to_write() -> None:
    text = HEAD + "tolerance: {tcp.rtt_us.p50: &wide 5%, app.throughput_bps: *wide}\n"
    with pytest.raises(UsageError, match=r"add these lines yourself:\nrepeat: 9\ntolerance:\n  app.throughput_bps: 7%"):
        with_values(text, "wan.yaml", repeat=9, tolerance_pct={GOODPUT: 7})


def test_a_second_edit_of_the_same_values_changes_nothing() -> None:
    once = edited(HEAD)
    assert edited(once) == once


@given(
    st.integers(1, 1000),
    st.dictionaries(
        st.sampled_from([RTT, GOODPUT, "tcp.min_rtt_us"]), st.floats(0.5, 500).map(lambda pct: round(pct, 1))
    ),
)
def test_any_values(repeat: int, tolerance: dict[str, float]) -> None:
    (scenario,) = read_text(with_values(HEAD, "x", repeat=repeat, tolerance_pct=tolerance), "x").scenarios
    assert scenario.repeat == repeat
    assert scenario.tolerance_pct == pytest.approx(tolerance)
