"""Every malformed file gives its located errors, and nothing a user can write gives a traceback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_texts import VALID, changed

from perfcheck.errors import ScenarioError
from perfcheck.scenario import load, load_text

BAD: Final = Path(__file__).parents[1] / "golden" / "scenarios_bad"
FILES: Final = tuple(sorted(BAD.glob("*.yaml")))
LOCATED: Final = re.compile(r"(?P<file>[^:]+):(?P<line>[0-9]+):(?P<column>[0-9]+): (?P<rest>.+)")


def mistakes_of(text: str) -> list[str]:
    """Return the lines of the error that a text must raise, without the file's name."""
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "x.yaml")
    return [line.removeprefix("x.yaml:") for line in str(caught.value).splitlines()]


def outcome(text: str) -> str:
    """Read a text: "" where it is a scenario, else the error; anything but a ScenarioError goes through."""
    try:
        load_text(text, "x.yaml")
    except ScenarioError as error:
        return str(error) or "an error without a problem"
    return ""


def test_there_are_at_least_forty_malformed_files() -> None:
    assert len(FILES) >= 40
    assert {file.stem for file in FILES} == {file.stem for file in BAD.glob("*.txt")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_malformed_file_gives_its_located_errors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(ScenarioError) as caught:
        load(Path(file.name))
    assert f"{caught.value}\n" == file.with_suffix(".txt").read_text(encoding="utf-8")
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_errors_point_into_the_file_in_order(file: Path) -> None:
    lines = file.read_bytes().decode("latin-1").split("\n")
    places: list[tuple[int, int]] = []
    for error in file.with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        match = LOCATED.fullmatch(error)
        assert match is not None
        assert match["file"] == file.name
        places.append((int(match["line"]), int(match["column"])))
    assert places == sorted(places)
    assert all(1 <= column <= len(lines[line - 1]) + 1 for line, column in places)


def test_the_designs_own_example() -> None:
    assert mistakes_of(changed(("delay: 10ms", "delay: 5"))) == [
        "7:12: links[0].delay: expected a duration such as 10ms, got '5'"
    ]


def test_all_mistakes_are_told_at_once_sorted() -> None:
    found = mistakes_of(changed(("delay: 10ms", "delay: 5"), ("server]", "sever]"), ("p50", "p55"), ("none", "lost")))
    assert [line.split(": ")[0] for line in found] == ["6:23", "7:12", "13:3", "14:14"]


def test_an_alias_places_its_error_where_it_stands() -> None:
    text = changed(("delay: 10ms", "delay: &slow 10"), ("duration: 2s", "duration: *slow"))
    assert [line.split(": ")[0] for line in mistakes_of(text)] == ["7:12", "11:50"]


def test_a_mistake_in_the_matrix_is_told_once_for_all_points() -> None:
    text = VALID + "matrix:\n  links[0].delay: [5ms, 6]\n  links[0].seed: [1, 2, 3]\n"
    assert mistakes_of(text) == ["16:25: matrix.links[0].delay[1]: expected a duration such as 10ms, got '6'"]


def test_columns_count_characters_not_bytes() -> None:
    text = changed(("{from: client", '{"ü€𝄞": 1, from: client'))
    assert mistakes_of(text)[0].startswith("11:14: traffic[0].iperf3.ü€𝄞: unknown key")


def test_an_error_stays_on_its_line() -> None:
    text = changed(("delay: 10ms", '"de\\nlay\\e": 10ms'))
    [line] = mistakes_of(text)
    assert line.startswith("7:5: links[0].de\\nlay\\x1b: unknown key")


def test_a_long_key_is_cut() -> None:
    [line] = mistakes_of(changed(("delay: 10ms", f"{'d' * 900}: 10ms")))
    assert len(line) < 500


def test_a_long_value_is_cut() -> None:
    [line] = mistakes_of(changed(("delay: 10ms", f"delay: {'9' * 500}")))
    assert len(line) < 150


@pytest.mark.parametrize("path", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError, match=rf"^{re.escape(path)}:1:1: cannot be read: "):
        load(Path(path))


@pytest.mark.parametrize(
    "text",
    [
        "scenario: &a [" + "[" * 5000,
        "scenario: x\nhosts: " + "{a: " * 3000,
        "- " * 5000 + "x",
        "a: &a [1]\n" + "".join(f"a{i}: &a{i} [*a, *a, *a, *a]\n" for i in range(400)),
        "x" * 1_100_000,
        "scenario: x\n" + "k: v\n" * 20_000,
    ],
    ids=["brackets", "braces", "dashes", "aliases", "huge", "duplicates"],
)
def test_hostile_files_are_read_to_their_end(text: str) -> None:
    assert outcome(text)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rate: 100mbit", "rate: 100mbit\n    ecn: on", "expected true or false, got 'on'"),
        ("rate: 100mbit", "rate: 100mbit\n    ecn: no", "expected true or false, got 'no'"),
        ("rate: 100mbit", "rate: 100mbit\n    ecn: 1", "expected true or false, got '1'"),
        ("rate: 100mbit", "rate: 100mbit\n    mtu: 1_400", "got '1_400'; write it without '_'"),
        ("rate: 100mbit", "rate: 100mbit\n    mtu: 0x5dc", "got '0x5dc'; write it in decimal digits"),
        ("rate: 100mbit", "rate: 100mbit\n    mtu: 1500.0", "expected a whole number such as 1400, got '1500.0'"),
        ("rate: 100mbit", "rate: 100mbit\n    mtu: 1e3", "expected a whole number such as 1400, got '1e3'"),
        ("rate: 100mbit", "rate: 100mbit\n    mtu: true", "expected a whole number such as 1400, got 'true'"),
        ("duration: 2s", "duration: 0:02", "give a unit, such as 600s"),
        ("duration: 2s", "duration: 2", "expected a duration such as 10ms, got '2'"),
        ("scenario: example", "scenario: 2024-01-01", ""),
        ("scenario: example", "scenario: on", ""),
        ("scenario: example", "scenario: 1.5", "expected text such as wan-bulk-download, got '1.5'; put it in quotes"),
    ],
)
def test_values_that_yaml_readers_take_differently(old: str, new: str, expected: str) -> None:
    error = outcome(changed((old, new)))
    assert (expected in error) if expected else not error


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_no_text_gives_a_traceback(text: str) -> None:
    assert outcome(text)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("scenario: hotlkexpmq\n-[]{}'\"&*!|>%@#?,.0159~<=\t")))
def test_no_punctuation_gives_a_traceback(text: str) -> None:
    assert outcome(f"scenario: x\n{text}")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_with_places_in_it(data: st.DataObject) -> None:
    lines = VALID.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(lines) - 1))
        line = lines[row]
        column = data.draw(st.integers(0, len(line)))
        cut = data.draw(st.integers(0, 4))
        lines[row] = line[:column] + data.draw(st.text(max_size=3)) + line[column + cut :]
    text = "".join(lines)
    for error in outcome(text).splitlines():
        match = LOCATED.fullmatch(error)
        assert match is not None
        assert 1 <= int(match["line"]) <= len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text))


_anything: Final = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["1%", "5ms", "x"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def _keys(node: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in below for found in _keys(value, (*path, key)))]


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_any_value_at_any_key_is_read_or_refused(data: st.DataObject) -> None:
    content = yaml.safe_load(VALID + "matrix: {links.0.delay: [5ms]}\ntolerance: {tcp.rtt_us.p50: 5%}\nwarmup: 1s\n")
    *path, last = data.draw(st.sampled_from([key for key in _keys(content) if key]))
    around = content
    for step in path:
        around = around[step]
    around[last] = data.draw(_anything)
    outcome(yaml.safe_dump(content, sort_keys=False))


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("delay: 5ms, jitter: {spread: 2ms, distribution: normal}", "needs a delay of at least 6 ms, not 5 ms"),
        ("delay: 5ms, jitter: {spread: 8ms, distribution: pareto}", "needs a delay of at least 5.33"),
        ("delay: 5ms, reverse: {jitter: 6ms}", "jitter 6 ms is more than the delay 5 ms"),
        ("delay: 5ms, jitter: 2ms, schedule: [{at: 1s, delay: 1ms}]", "jitter 2 ms is more than the delay 1 ms"),
        ("delay: 5ms, jitter: 5ms, reorder: 1%", None),
        ("delay: 1ms, jitter: 2ms, schedule: [{at: 0s, delay: 2ms}]", None),
    ],
)
def test_no_packet_arrives_before_it_was_sent(link: str, wrong: str | None) -> None:
    text = f"""
scenario: a
hosts: {{client: {{}}, server: {{}}}}
links: [{{between: [client, server], {link}}}]
traffic: [{{iperf3: {{from: client, to: server}}}}]
"""
    if wrong is None:
        assert outcome(text) == ""
    else:
        (line,) = mistakes_of(text)
        assert line.startswith("4:")
        assert wrong in line
