"""The state of a bisect: what a kill leaves is read, and nothing that is no such state is ever changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfcheck.errors import OutputError, UsageError
from perfcheck.model.bisection import BisectStep, Finding
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bisecting.state import BisectState, default_path

CONDITIONS = {"metric": "cpu.insns_per_byte", "good": "a", "bad": "z"}


def step(name: str, finding: Finding = Finding.GOOD, *, lasting: bool = True) -> BisectStep:
    return BisectStep(
        candidate=name, finding=finding, verdict=Verdict.PASS, change_pct=0.125, interval_pct=(-0.5, 0.75),
        reason="\u202eevil \x1b[31m", lasting=lasting,
    )  # fmt: skip


def kept(path: Path) -> tuple[BisectStep, ...]:
    with BisectState.open(path, CONDITIONS) as state:
        return state.steps


def written(path: Path, *names: str) -> tuple[BisectStep, ...]:
    with BisectState.open(path, CONDITIONS) as state:
        for name in names:
            state.add(step(name))
        return state.steps


def test_steps_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state"
    made = written(path, "b", "c")
    assert kept(path) == made == (step("b"), step("c"))
    assert path.read_bytes().isascii()


def test_a_step_whose_reason_may_pass_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with BisectState.open(path, CONDITIONS) as state:
        state.add(step("b", Finding.SKIPPED, lasting=False))
        assert len(state.steps) == 1
    assert kept(path) == ()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_kill_at_any_byte_keeps_all_steps_before_it(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "state"
    path.unlink(missing_ok=True)
    made = written(path, "b", "c", "d")
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = max(0, content[:cut].count(b"\n") - 1)
    assert kept(path) == made[:whole]
    # What is added then is read as well.
    assert written(path, "e")[-1] == step("e")
    assert kept(path) == (*made[:whole], step("e"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"good": "b"}, "good was a, now it is b"),
        ({"image of a": "5f"}, "image of a was not given, now it is 5f"),
    ],
)
def test_the_state_of_another_bisect_is_refused(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    path = tmp_path / "state"
    written(path, "b")
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"the state of another bisect: {said}; give --restart"):
        BisectState.open(path, CONDITIONS | changed).__enter__()
    assert path.read_bytes() == before


def test_restart_drops_the_steps_and_takes_the_new_arguments(tmp_path: Path) -> None:
    path = tmp_path / "state"
    written(path, "b")
    with BisectState.open(path, CONDITIONS | {"good": "b"}, restart=True) as state:
        assert state.steps == ()
    with BisectState.open(path, CONDITIONS | {"good": "b"}) as state:
        assert state.steps == ()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b"export PATH=/bin\n", b"no end of line", b"{}\n", b'{"perfcheck_bisect":2,"conditions":{}}\n', b"\xff\xfe\n",
        b'{"perfcheck_bisect":1,"conditions":{"a":1}}\n', b"[" * 100_000 + b"\n",
        b'{"perfcheck_bisect":1,"perfcheck_bisect":1,"conditions":{}}\n', b"\n",
    ],
    ids=range(9),
)  # fmt: skip
def test_a_file_that_is_no_state_is_never_changed(tmp_path: Path, content: bytes, restart: bool) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not the state of a bisect"):
        BisectState.open(path, CONDITIONS, restart=restart).__enter__()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    ["{}", "[]", json.dumps({"candidate": "b", "finding": "good", "verdict": "NO"}), '{"candidate":"b","finding":NaN}'],
)
def test_a_damaged_step_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "state"
    written(path, "b")
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UsageError, match=r"state:3: damaged: .*; give --restart"):
        BisectState.open(path, CONDITIONS).__enter__()


def test_two_bisects_never_share_a_state(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with BisectState.open(path, CONDITIONS), pytest.raises(UsageError, match="another bisect is using this state"):
        BisectState.open(path, CONDITIONS).__enter__()
    assert kept(path) == ()


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/full")):
        with pytest.raises(UsageError, match="not a regular file"):
            BisectState.open(path, CONDITIONS).__enter__()
    for path in (tmp_path, tmp_path / "pipe" / "state", Path("a\0b")):
        with pytest.raises(UsageError, match="cannot be written"):
            BisectState.open(path, CONDITIONS).__enter__()


def test_a_full_disk_is_told_and_the_file_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    made = written(path, "b")
    real = os.write
    with BisectState.open(path, CONDITIONS) as state:
        monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:10]))
        with pytest.raises(OutputError, match="no space left"):
            state.add(step("c"))
        monkeypatch.undo()
    assert kept(path) == made


def test_the_default_file_is_that_of_the_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path(CONDITIONS) == default_path(dict(reversed(CONDITIONS.items())))
    assert default_path(CONDITIONS) != default_path(CONDITIONS | {"good": "b"})
    assert default_path(CONDITIONS).is_relative_to(tmp_path / "perfcheck/bisect")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_path(CONDITIONS).is_relative_to(Path.home() / ".local/state")
