from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from baseline_records import SCENARIO, folder_in_memory, session, values_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfcheck.baseline import BaselineStore, baseline_of
from perfcheck.baseline.document import dump, parse, rounded
from perfcheck.errors import BaselineError, OutputError
from perfcheck.system.files import UNFINISHED

# the file


def test_the_file_is_readable_line_by_line(tmp_path: Path) -> None:
    text = BaselineStore(tmp_path).save(session()).read_text()
    golden = Path(__file__).parent.parent / "golden" / "baseline.yaml"
    assert text == golden.read_text()
    assert dump(parse(text, "x")) == text


def test_numbers_keep_ten_digits_and_whole_ones_no_point() -> None:
    assert [rounded(value) for value in (1 / 3, 94_123_456.0, 1e-7, 0.1 + 0.2)] == [0.3333333333, 94123456, 1e-7, 0.3]
    assert isinstance(rounded(5.0), int)


@given(
    st.dictionaries(
        st.sampled_from(["tcp.rtt_us.p50", "tcp.rtt_us.p99", "tcp.retrans_pct"]),
        st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=5).map(tuple),
        min_size=1,
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
@example({"tcp.rtt_us.p50": (1.0,)}, "line\x85break \u2028 \ufeff \x00")
def test_any_values_and_texts_come_back(metrics: dict[str, tuple[float, ...]], text: str) -> None:
    record = session(metrics=dict(metrics), environment={"odd": text})
    baseline = replace(baseline_of(record), file="f")
    assert parse(dump(baseline), "f") == baseline


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_file_is_a_located_error_or_says_the_same(data: st.DataObject) -> None:
    text = dump(baseline_of(session()))
    mutated = data.draw(mutations(text))
    problem = ""
    try:
        found = parse(mutated, "baselines/x.yaml")
    except BaselineError as error:
        problem = str(error)
    if problem:
        assert re.match(r"baselines/x\.yaml:[1-9][0-9]*:[1-9][0-9]*: ", problem)
    else:
        assert found == parse(text, "baselines/x.yaml")


@st.composite
def mutations(draw: st.DrawFn, text: str) -> str:
    lines = text.splitlines(keepends=True)
    place = draw(st.integers(0, len(text) - 1))
    line = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["cut off", "drop", "insert", "replace", "drop line", "repeat line", "swap lines"]))
    character = draw(st.sampled_from(list("0123456789.-:[]{},'\"#&*!|>%@` \n\tabcxyzE_\0\ufeff")))
    if kind == "cut off":
        return text[:place]
    if kind == "drop":
        return text[:place] + text[place + draw(st.integers(1, 40)) :]
    if kind == "insert":
        return text[:place] + character + text[place:]
    if kind == "replace":
        return text[:place] + character + text[place + 1 :]
    if kind == "swap lines":
        other = draw(st.integers(0, len(lines) - 1))
        lines[line], lines[other] = lines[other], lines[line]
        return "".join(lines)
    return "".join(lines[:line] + ([] if kind == "drop line" else [lines[line]] * 2) + lines[line + 1 :])


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (("schema: 1", "schema: 2"), "3:9", "another version of perfcheck"),
        (("20113", "20114"), "", "checksum"),
        (("workload: ", "workload: x"), "", "checksum"),
        (("workload: ", "workloda: "), "", "workloda"),
        (("sessions:", "sessions: []\nolder:"), "", "sessions"),
        (("...\n", ""), "", "end mark"),
        (("20113", ".nan"), "", "finite"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, change: tuple[str, str], where: str, what: str) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session())
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(BaselineError) as caught:
        store.load(SCENARIO, session().environment)
    assert str(caught.value).startswith(f"{path}:{where}")
    assert what in str(caught.value)
    assert caught.value.exit_status == 2


def test_bytes_that_are_no_text_are_a_located_error(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session())
    path.write_bytes(b"# ok\n# \xff\n")
    with pytest.raises(BaselineError, match=r":2:3: cannot read this baseline: it is not UTF-8 text"):
        store.load(SCENARIO, session().environment)


def test_a_file_that_cannot_be_read_is_never_overwritten(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session())
    path.write_text("damaged")
    with pytest.raises(BaselineError, match="not a baseline file"):
        store.save(session(2))
    assert path.read_text() == "damaged"


# crashes and writers


@pytest.mark.parametrize("step", ["fsync", "replace", "fchmod"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session(1))
    text = path.read_text()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if step == "replace" else os, step, fail)
    with pytest.raises(OutputError, match="No space"):
        store.save(session(2))
    monkeypatch.undo()
    assert path.read_text() == text
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    store.save(session(2))
    assert len(values_of(store, session())) == 2


def test_what_a_killed_writer_left_is_ignored_and_removed(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session(1))
    left = path.parent / f"{UNFINISHED}abc"
    left.write_text("half a fi")
    assert len(values_of(store, session())) == 1
    assert store.list() == (path,)
    store.save(session(2))
    assert not left.exists()


def _save_many(root: Path, first: int, count: int) -> None:
    for number in range(first, first + count):
        BaselineStore(root).save(session(number))


def _processes() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["perfcheck.baseline", "perfcheck.testing"])
    return context


def test_two_writers_at_once_are_both_kept() -> None:
    with folder_in_memory() as folder:
        _two_writers(folder)


def _two_writers(folder: Path) -> None:
    writers = [_processes().Process(target=_save_many, args=(folder, first, 10)) for first in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    found = BaselineStore(folder).load(SCENARIO, session().environment).like
    assert found is not None
    assert {each.run_id for each in found.sessions} == {f"{n:032x}" for n in (*range(10), *range(100, 110))}


def _kill_writers(root: Path, rounds: int) -> None:
    """Fork a writer, kill it in mid-save, look at what it left; runs in a process without threads, so it may fork."""
    rng = random.Random(5)  # noqa: S311 - which moment is hit needs no secrecy
    for number in range(1, 10 * rounds, 10):
        hears, told = os.pipe()
        writer = os.fork()
        if not writer:
            _save_for_ever(root, number, told)
        os.close(told)
        saved = os.read(hears, 4)
        time.sleep(rng.uniform(0, 0.008))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        while more := os.read(hears, 4):
            saved = more
        os.close(hears)
        found = BaselineStore(root).load(SCENARIO, session().environment).like
        assert found is not None
        assert f"{int.from_bytes(saved):032x}" in {each.run_id for each in found.sessions}


def _save_for_ever(root: Path, number: int, told: int) -> None:
    while True:
        BaselineStore(root).save(session(number), update=number % 10 == 1)
        os.write(told, number.to_bytes(4))
        number += 1


def test_200_killed_writers_never_leave_a_file_that_cannot_be_read_or_lose_a_saved_run() -> None:
    with folder_in_memory() as folder:
        process = _processes().Process(target=_kill_writers, args=(folder, 200))
        process.start()
        process.join(120)
        assert process.exitcode == 0
        assert len(list(folder.rglob("*"))) <= 3
