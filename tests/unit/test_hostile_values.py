"""Files with values of the wrong kind: a located error, exit status 2, never a traceback and never status 1."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from perfcheck.baseline import baseline_of
from perfcheck.baseline.document import dump, parse
from perfcheck.cli import main
from perfcheck.diagnose.loading import read_rules
from perfcheck.errors import BaselineError, PerfcheckError, RuleError
from perfcheck.model.trace import parse_trace
from perfcheck.testing import make_record

METRIC: Final = "tcp.rtt_us.p50"
GOOD: Final = json.loads(make_record({METRIC: (20_000.0, 20_100.0, 20_050.0)}).to_json())
BASELINE: Final = dump(baseline_of(make_record({METRIC: (20_000.0, 20_100.0, 20_050.0)})))
WRONG: Final[tuple[Any, ...]] = (
    None, True, -1, 1e308, 10**400, "", [], {}, [None], {"a": None}, float("nan"), float("-inf"),
    "\x1b[31m\n::error::x",
)  # fmt: skip

TAGGED: Final = (
    '!!int ""', '!!float ""', "!!float .", "!!bool x", "!!null x", "!!timestamp x", "!!timestamp 2024-13-45",
    "!!int 1:2:", "!!binary é", "!!set {a}", "!!omap [a: 1]", "!!python/object:os.system x", "!x y", "2024-01-01",
    "=", "<<", ".nan", "-.inf", "1e308", "0x", "&a [*a]", "&a {b: *a}", "*x", '"\\uD800"', "[" * 200, "? [a]\n: b",
)  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def changed(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    whole = copy.deepcopy(value)
    inner = whole
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return whole


@pytest.mark.parametrize("path", list(places(GOOD)), ids=lambda path: ".".join(map(str, path)) or "whole")
def test_a_wrong_value_anywhere_in_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: tuple[str | int, ...]
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(GOOD))
    for turn, wrong in enumerate(WRONG, len(path)):
        bad.write_text(json.dumps(changed(GOOD, path, wrong)) + "\n")
        files = (good, bad) if turn % 2 else (bad, good)
        status = main(["compare", *map(str, files)])
        told = capsys.readouterr()
        assert status in (0, 2, 3), (wrong, told)
        assert "internal error" not in told.err, (wrong, told.err)
        assert "Traceback" not in told.err
        assert "\x1b" not in told.out + told.err
        assert not [line for line in (told.out + told.err).split("\n") if line.startswith("::")]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e308", "1e31"])
def test_a_number_that_nothing_can_be_computed_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(GOOD).replace("20100.0", value))
    assert main(["compare", str(bad), str(bad)]) == 2
    assert "bad.json:1:1: expected a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n\n", b"\x00\x01\x02", b"\xff\xfe{\x00}\x00", b"[]", b"1", b"null", b'"x"', b"{}", b"[" * 100_000,
        b"\xef\xbb\xbf{}", b"{\r\n}\r\n", b'{"schema":1', b"\x1f\x8b\x08\x00gzip",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["record", "scenario", "baseline", "rules", "trace"])
def test_a_file_that_is_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, kind: str
) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    if kind in ("record", "scenario"):
        words = ["compare", str(path), str(path)] if kind == "record" else ["list", str(path)]
        assert main(words) == 2
        told = capsys.readouterr().err
        assert told.startswith((f"{path}:1:", f"{path}:2:"))
        assert "internal error" not in told
        return
    text = content.decode(errors="replace")
    readers: dict[str, Callable[[], object]] = {
        "baseline": lambda: parse(text, "b"), "rules": lambda: read_rules("r", text),
        "trace": lambda: parse_trace(content),
    }  # fmt: skip
    if (kind, content) == ("trace", b"1"):
        content = b"1\n0"
    with pytest.raises((PerfcheckError, ValueError)) as caught:
        readers[kind]()
    assert isinstance(caught.value, PerfcheckError) or kind == "trace"
    assert str(caught.value)


@pytest.mark.parametrize("make", ["mkdir", "dangling", "loop", "missing", "long"])
@pytest.mark.parametrize("words", [["list"], ["run"], ["calibrate"], ["ab", "--a", "file", "--b", "file"], ["compare"]])
def test_what_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: str, words: list[str]) -> None:
    path = tmp_path / ("x" * 300 if make == "long" else "f.yaml")
    if make == "mkdir":
        path.mkdir()
    elif make in ("dangling", "loop"):
        path.symlink_to("nowhere" if make == "dangling" else path.name)
    assert main([*words, str(path), *([str(path)] if words == ["compare"] else [])]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "internal error" not in told


@pytest.mark.parametrize("text", TAGGED)
@pytest.mark.parametrize(
    "old",
    ["schema: 1", "scenario: example", "point: {}", "kernel: 6.1.0", "accepted: []", "run_id: run-example", "20100",
     "workload: workload-example"],
)  # fmt: skip
def test_a_tag_or_alias_anywhere_in_a_baseline_is_located(text: str, old: str) -> None:
    key = old.partition(": ")[0] + ": " if ": " in old else ""
    assert old in BASELINE
    with pytest.raises(BaselineError) as caught:
        parse(BASELINE.replace(old, f"{key}{text}", 1), "b.yaml")
    assert all(str(problem).startswith("b.yaml:") and problem.line > 0 for problem in caught.value.problems)


RULES: Final = """\
schema: 1
rules:
  - name: deep-queue
    cause: bufferbloat
    when: tcp.rtt_us.p50 > 20ms
    weight: 0.5
    evidence: queue delay
    severity: warning
    advice: Shorten the queue.
"""


@pytest.mark.parametrize("text", TAGGED)
@pytest.mark.parametrize("key", ["schema", "name", "cause", "when", "weight", "evidence"])
def test_a_tag_or_alias_anywhere_in_rules_is_located(key: str, text: str) -> None:
    changed_rules = re.sub(rf"(?m)^([ -]*{key}:).*$", lambda found: f"{found[1]} {text}", RULES)
    assert changed_rules != RULES
    if key == "evidence" and text in ("0x", "1e308"):  # texts to YAML 1.1
        assert read_rules("r.yaml", changed_rules).rules
        return
    with pytest.raises(RuleError) as caught:
        read_rules("r.yaml", changed_rules)
    assert all(str(problem).startswith("r.yaml:") for problem in caught.value.problems)
