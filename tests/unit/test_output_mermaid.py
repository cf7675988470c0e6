"""Diagrams: whatever a label is of, it stays one label, and the diagram has the lines that it should have."""

from __future__ import annotations

import html
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.model.printable import printable
from perfcheck.output.mermaid import MOST_CHARACTERS, chain, curve, fenced, label, topology

HOSTILE: Final = st.text(max_size=100) | st.sampled_from([
    '"]', '"]\nclick s0 "javascript:alert(1)"', "%%{init: {}}%%", "<img src=x onerror=alert(1)>", "```\n# h",
    "#quot;", "#35;", "&lt;", "$$x$$", "fa:fa-car", "end", "style s0 fill:#f00;", "1. list", "- list", "",
    "`**md**`", "---\nx: y\n---", "@{shape: x}", "http://evil.example", "\u2028", "]]>", "--> s9", "subgraph x",
])  # fmt: skip
LABEL: Final = re.compile(r'"(?:[A-Za-z0-9 ]|#[0-9]+;)+"')


def read(quoted: str) -> str:
    """Return the text of a label as Mermaid shows it: its entities are HTML's without the ampersand."""
    assert LABEL.fullmatch(quoted), quoted
    return html.unescape(re.sub(r"#([0-9]+);", r"&#\1;", quoted[1:-1]))


@given(HOSTILE)
def test_a_label_is_one_quoted_text_and_says_what_it_should(text: str) -> None:
    shown = read(label(text))
    expected = printable(text).strip(" ")
    if len(printable(text)) <= MOST_CHARACTERS:
        assert shown == (expected or "\u200b")
    else:
        assert shown.endswith("…")
        assert expected.startswith(shown[:-1].strip(" ")) or printable(text).startswith(" ")
        assert len(shown) <= MOST_CHARACTERS


@given(st.lists(HOSTILE, min_size=1, max_size=30))
def test_a_chain_has_a_node_a_state_and_nothing_else(states: list[str]) -> None:
    first, *lines = chain(states).split("\n")
    assert first == ("flowchart LR" if len(states) <= 5 else "flowchart TD")
    shown = min(len(states), 24)
    nodes, steps = lines[:shown], lines[shown:]
    for number, line in enumerate(nodes):
        assert re.fullmatch(rf"  s{number}\[{LABEL.pattern}\]", line)
    assert steps == [f"  s{number} --> s{number + 1}" for number in range(shown - 1)]


@given(st.lists(HOSTILE, min_size=1, max_size=5, unique=True), HOSTILE)
def test_a_topology_has_hosts_and_links_and_nothing_else(hosts: list[str], settings: str) -> None:
    links = [(hosts[0], hosts[-1], settings), (hosts[0], "another host that is not there", settings)]
    lines = topology(hosts, links).split("\n")[1:]
    for number, line in enumerate(lines[: len(hosts)]):
        assert re.fullmatch(rf"  h{number}\[{LABEL.pattern}\]", line)
    (link,) = lines[len(hosts) :]
    assert re.fullmatch(rf"  h0 ---(?:\|{LABEL.pattern}\|)? h{len(hosts) - 1}", link)


@given(
    HOSTILE,
    HOSTILE,
    st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=2, max_size=40),
    st.floats(0.001, 1e6),
)
def test_a_curve_has_its_values_and_nothing_else(title: str, unit: str, values: list[float], end_s: float) -> None:
    init, kind, *lines = curve(title, unit, values, end_s).split("\n")
    assert init.startswith("%%{init:")
    assert kind == "xychart-beta"
    # Mermaid reads no exponents.
    number = r"-?[0-9]+(?:\.[0-9]+)?"
    forms = (
        rf"  title {LABEL.pattern}", rf"  x-axis {LABEL.pattern} 0 --> {number}",
        rf"  y-axis {LABEL.pattern} ({number}) --> ({number})", rf"  line \[({number}(?:, {number})*)\]",
    )  # fmt: skip
    found = [re.fullmatch(form, line) for form, line in zip(forms, lines, strict=True)]
    assert all(found)
    axis, line = found[2], found[3]
    assert axis is not None
    assert line is not None
    assert [float(value) for value in line[1].split(", ")] == pytest.approx(values, rel=1e-5)
    low, high = float(axis[1]), float(axis[2])
    assert low < high
    assert low <= min(values) + 1e-5 * abs(min(values))
    assert high >= max(values) - 1e-5 * abs(max(values))


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_nothing_ends_the_fence(states: list[str]) -> None:
    lines = fenced(chain(states)).split("\n")
    assert [number for number, line in enumerate(lines) if "`" in line or "~" in line] == [0, len(lines) - 1]
