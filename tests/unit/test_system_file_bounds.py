"""What files may hold at most: nesting, values, long numbers, aliases; the length of quantities."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import yaml
from baseline_records import session
from hypothesis import given
from hypothesis import strategies as st
from scenario_texts import VALID, changed

from perfcheck.baseline import BaselineStore
from perfcheck.baseline.document import dump
from perfcheck.baseline.document import parse as parse_baseline
from perfcheck.baseline.sessions import baseline_of
from perfcheck.diagnose.loading import load_rules, read_rules
from perfcheck.diagnose.parsing import _LITERAL
from perfcheck.errors import BaselineError, RecordError, RuleError, ScenarioError, UsageError
from perfcheck.model import units
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.output import read_records
from perfcheck.runner.option_values import tolerance
from perfcheck.runner.sides import Side
from perfcheck.scenario import expectations, load_text, matrix, read
from perfcheck.scenario.suggest import nearest
from perfcheck.system.json_bounds import in_bounds, json_fault
from perfcheck.system.yaml_bounds import YamlBounds, excess

SMALL: Final = YamlBounds(characters=2000, values=20, depth=4, scalar=60)
BLANKS: Final = " " * 200_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [[[[1]]]]", (2, 7, "nested deeper than 4 levels")),
        ("a: 1\nb: [[1], [[[2]]]]", (2, 12, "nested deeper than 4 levels")),
        ("a: [" + "1," * 20 + "]", (1, 39, "more than 20 values")),
        ("a: " + "x" * 61, (1, 4, "expected a text of at most 60 characters, got 61")),
        ("a: " + "9" * 41, (1, 4, "expected a number of at most 40 characters, got 41")),
        ("a: 0x" + "f" * 45, (1, 4, "expected a number of at most 40 characters, got 47")),
        ("a: &x 1\nb: *x", (1, 4, "anchors and aliases (&name, *name) are not allowed here: write the value out")),
        ("a: !!int", (1, 4, "tags (!name) are not allowed here: remove it")),
        ("a: " + "x " * 1000, (1, 1, "expected at most 2,000 characters, got 2,003")),
    ],
)
def test_a_yaml_text_out_of_bounds_is_refused_with_its_place(text: str, expected: tuple[int, int, str]) -> None:
    found = excess(text, SMALL)
    assert found is not None
    assert (found.line, found.column, found.message) == expected


@given(st.recursive(st.integers(0, 99), lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_depth_and_values_are_counted_as_they_are(value: object) -> None:
    def values(node: object) -> int:
        return 1 + sum(map(values, node)) if isinstance(node, list) else 1

    def depth(node: object) -> int:
        return 1 + max(map(depth, node), default=0) if isinstance(node, list) else 0

    text = yaml.safe_dump(value)
    exact = YamlBounds(characters=10_000, scalar=60, depth=max(2, depth(value) + 1), values=values(value))
    assert excess(text, exact) is None
    fewer = excess(text, replace(exact, values=values(value) - 1))
    assert fewer is not None
    assert fewer.message.startswith("more than")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": NaN}', "expected a number, got NaN"),
        ('{"a": [-Infinity]}', "expected a number, got -Infinity"),
        ('{"a": 1e308}', "expected a number between 1e-30 and 1e+24, or 0, got 1e308"),
        ('{"a": 5e-324}', "expected a number between 1e-30 and 1e+24, or 0, got 5e-324"),
        ('{"a": 1e999}', "expected a number between 1e-30 and 1e+24, or 0, got 1e999"),
        ('{"a": %s}' % ("9" * 5000), "expected a number of at most 25 digits, got 5000"),
        ('{"a": 1, "a": 2}', "duplicate key 'a'"),
        ("[" * 100_000, "nested too deep"),
        pytest.param("[" + "{}," * 500_000 + "{}]", "more than 1,000,000 values", id="values"),
        pytest.param(json.dumps(dict.fromkeys(map(str, range(10_001)))),
                     "expected at most 10,000 keys in one object, got 10,001", id="keys"),
        ('{"a": 1e-9, "b": -0.0}', None),
        ("{", None),
    ],
)  # fmt: skip
def test_a_json_text_that_no_run_wrote(text: str, fault: str | None) -> None:
    assert json_fault(text) == fault


@given(st.floats())
def test_a_number_in_bounds_can_be_squared_and_divided(value: float) -> None:
    if in_bounds(value):
        assert value * value < float("inf")
        assert value == 0 or 0 < abs(1 / value) < float("inf")


def _refusing_files(folder: Path) -> Iterator[tuple[Callable[[], object], type[Exception]]]:
    """Yield a reading of each kind of file whose path is `folder/base.yaml`, and the error that it must give."""
    path = folder / "base.yaml"
    yield lambda: read(path), ScenarioError
    yield lambda: read_records(path), RecordError
    yield lambda: load_rules([folder]), RuleError


@pytest.mark.parametrize("kind", ["device", "FIFO", "sparse"])
def test_no_file_of_a_user_blocks_or_fills_the_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "base.yaml"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    for reading, error in _refusing_files(tmp_path):
        with pytest.raises(error, match=r"base\.yaml:1:1: .*(not a regular file|larger than \d+ bytes)"):
            reading()


def test_a_baseline_that_is_a_device_is_refused(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session())
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(BaselineError, match="cannot read this baseline: not a regular file"):
        store.of(session())


@pytest.mark.parametrize("end", ["accepted: &a []\n", "accepted: !!set {}\n", "accepted: [[[[[[[[[[1]]]]]]]]]]\n"])
def test_a_baseline_has_no_aliases_tags_or_depth(end: str) -> None:
    text = dump(baseline_of(session()))
    with pytest.raises(BaselineError, match=r"f:\d+:\d+: not a valid baseline: (anchors|tags|nested)"):
        parse_baseline(text.replace("accepted: []\n", end), "f")


def test_a_baseline_that_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session(1))
    before = path.read_bytes()
    monkeypatch.setattr("perfcheck.baseline.store.BOUNDS", YamlBounds(characters=10**6, values=9, depth=9, scalar=900))
    with pytest.raises(BaselineError, match="--baseline-update replaces all earlier sessions"):
        store.save(session(2))
    assert path.read_bytes() == before


def test_a_rule_file_has_no_tags() -> None:
    with pytest.raises(RuleError, match=r"f:2:8: tags \(!name\) are not allowed here"):
        read_rules("f", "schema: 1\nterms: !!python/none\n")


@pytest.mark.parametrize(
    "read_it",
    [
        units.parse_duration_ns,
        lambda text: units.parse_in_unit(text, "us"),
        lambda text: tolerance(f"tcp.rtt_us.p50=5{text}x"),
        lambda text: Side.parse(f"sysctl net.ipv4.tcp_rmem={text}1"),
        lambda text: load_text(changed(("delay: 10ms", f'delay: "1{text}x"')), "f"),
        lambda text: load_text(changed(("<= 60ms", f"<= 6{text}x")), "f"),
        lambda text: load_text(changed(("expect:", f"matrix: {{'links[0].{text}x': [1]}}\nexpect:")), "f"),
        lambda text: load_text(f"{VALID}tolerance: {{tcp.rtt_us.p50: '5{text}x'}}\n", "f"),
    ],
)
def test_200_kb_of_blanks_in_a_quantity_are_refused_by_their_length(read_it: Callable[[str], object]) -> None:
    with pytest.raises((ValueError, UsageError, ScenarioError)) as refused:
        read_it(BLANKS)
    assert len(str(refused.value)) < 400


PATTERNS: Final = (
    units._QUANTITY, expectations._LINE, matrix._STEP, _LITERAL,
    *(re.compile(text) for text in (expectations._BARE_LINE, expectations._line_schema(next(iter(
        spec for spec in CATALOGUE.values() if spec.unit == "us")))["pattern"])),
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:30])
def test_no_pattern_can_match_the_same_blanks_in_two_ways(pattern: re.Pattern[str]) -> None:
    """Two runs of blanks with nothing between that must be there take time by the square of the blanks."""
    bare = re.sub(r"\(\?P<\w+>|\(\?:|[()^$]", "", pattern.pattern)
    assert not re.search(r"\\s[*+](\\s[*+]|\[[^\]]*\]\*\\s[*+])", bare)


def test_a_long_word_is_compared_with_no_known_one() -> None:
    assert nearest("tcp.rtt_us.p5", ["tcp.rtt_us.p50"]) == "tcp.rtt_us.p50"
    assert nearest("tcp.rtt_us.p5" * 10_000, ["tcp.rtt_us.p50"]) is None


def test_no_more_mistakes_of_a_baseline_than_one_reads() -> None:
    text = dump(baseline_of(session())).replace(
        "sessions:\n", "".join(f"k{at}: 1\n" for at in range(90)) + "sessions:\n"
    )
    with pytest.raises(BaselineError) as refused:
        parse_baseline(text, "f")
    assert len(refused.value.problems) == 50


def test_words_in_braces_are_compared_with_hosts_only_while_they_are_few() -> None:
    few, many = "{servr}", " ".join(f"{{x{at}}}" for at in range(9)) + " {servr}"
    for command, told in ((few, True), (many, False)):
        text = changed(("client: {}", f"client: {{setup: ['echo {command}']}}"))
        try:
            found = load_text(text, "f") is None
        except ScenarioError as error:
            found = "did you mean {server}?" in str(error)
        assert found is told
