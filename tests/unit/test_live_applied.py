"""What was applied on purpose: noted before it is changed, kept until it is undone, put back in the reverse order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_sysctls import FakeSysctls

from perfcheck.cli.perfctl import main
from perfcheck.cli.perfctl.advising import show_and_apply
from perfcheck.errors import LabError
from perfcheck.live import applied
from perfcheck.live.advice import Advice, Change
from perfcheck.live.applied import Applied, applied_changes, apply_advice, folder, undo_changes
from perfcheck.live.sysctls import path_of_host
from perfcheck.system import clean
from perfcheck.system.journal import SUFFIX
from perfcheck.system.rundir import RUN_DIR_VARIABLE

OWN = path_of_host("")
SOMAXCONN, WMEM, SYN = "net.core.somaxconn", "net.ipv4.tcp_wmem", "net.ipv4.tcp_max_syn_backlog"


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run"
    monkeypatch.setenv(RUN_DIR_VARIABLE, str(directory))
    return directory


@pytest.fixture
def sysctls() -> FakeSysctls:
    return FakeSysctls(values={(OWN, SOMAXCONN): "128", (OWN, WMEM): "4096\t16384\t400000", (OWN, SYN): "512"})


def advice(*changes: tuple[str, str, str], name: str = "PC-X-Y") -> Advice:
    made = tuple(Change(key=key, old=old, new=new) for key, old, new in changes)
    return Advice(id=name, cause="accept_backlog", reason="Because.", action="Do it.", changes=made)


def outcomes(chosen: tuple[Applied, ...], sysctls: FakeSysctls, *, force: bool = False) -> list[str]:
    return [each.outcome for each in undo_changes(chosen, sysctls, force=force)]


def test_a_change_is_noted_before_it_is_made_and_undone(sysctls: FakeSysctls) -> None:
    name = apply_advice(advice((WMEM, "4096 16384 400000", "4096 16384 800000")), sysctls, 10**18)
    assert sysctls.noted_before == [True]
    assert sysctls.values[OWN, WMEM] == "4096 16384 800000"
    (found,) = applied_changes()
    assert (found.id, found.advice, found.at_ns, found.same_boot) == (name, "PC-X-Y", 10**18, True)
    assert outcomes((found,), sysctls) == ["undone"]
    assert sysctls.values[OWN, WMEM] == "4096 16384 400000"
    assert applied_changes() == ()
    assert list(folder().iterdir()) == []


def test_changes_on_changes_are_undone_latest_first(sysctls: FakeSysctls) -> None:
    apply_advice(advice((SOMAXCONN, "128", "256"), (SYN, "512", "1024")), sysctls, 3)
    apply_advice(advice((SOMAXCONN, "256", "512")), sysctls, 2)
    apply_advice(advice((SOMAXCONN, "512", "1024")), sysctls, 1)  # the time of day went back
    assert [each.change.new for each in applied_changes()] == ["256", "1024", "512", "1024"]
    assert outcomes(applied_changes(), sysctls) == ["undone"] * 4
    assert sysctls.values[OWN, SOMAXCONN] == "128"
    assert sysctls.values[OWN, SYN] == "512"


def test_what_somebody_else_changed_is_told_and_left(sysctls: FakeSysctls) -> None:
    apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    sysctls.values[OWN, SOMAXCONN] = "999"
    (found,) = undo_changes(applied_changes(), sysctls)
    assert found.outcome == "changed"
    assert "999" in found.reason
    assert sysctls.values[OWN, SOMAXCONN] == "999"
    assert len(applied_changes()) == 1
    assert outcomes(applied_changes(), sysctls, force=True) == ["undone"]
    assert sysctls.values[OWN, SOMAXCONN] == "128"


def test_an_earlier_change_alone_is_not_undone_under_a_later_one(sysctls: FakeSysctls) -> None:
    apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    apply_advice(advice((SOMAXCONN, "256", "512")), sysctls, 0)
    assert outcomes(applied_changes()[:1], sysctls) == ["changed"]
    assert sysctls.values[OWN, SOMAXCONN] == "512"


def test_a_kill_between_note_and_change_leaves_nothing_to_undo(sysctls: FakeSysctls) -> None:
    apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    sysctls.values[OWN, SOMAXCONN] = "128"
    assert outcomes(applied_changes(), sysctls) == ["unchanged"]
    assert applied_changes() == ()


def test_a_value_that_the_kernel_rounds_is_undone(sysctls: FakeSysctls) -> None:
    sysctls.rounded["250"] = "256"
    apply_advice(advice((SOMAXCONN, "128", "250")), sysctls, 0)
    assert [each.change.new for each in applied_changes()] == ["256"]
    assert outcomes(applied_changes(), sysctls) == ["undone"]


def test_a_change_that_is_refused_is_not_noted(sysctls: FakeSysctls) -> None:
    sysctls.refused.add(SOMAXCONN)
    with pytest.raises(LabError, match="refused by the kernel"):
        apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    assert applied_changes() == ()


def test_what_was_changed_before_a_refusal_stays_noted(sysctls: FakeSysctls) -> None:
    sysctls.refused.add(SYN)
    with pytest.raises(LabError, match="refused by the kernel"):
        apply_advice(advice((SOMAXCONN, "128", "256"), (SYN, "512", "1024")), sysctls, 0)
    assert sorted(outcomes(applied_changes(), sysctls)) == ["unchanged", "undone"]
    assert sysctls.values[OWN, SOMAXCONN] == "128"


def test_other_sysctls_are_never_changed(sysctls: FakeSysctls) -> None:
    with pytest.raises(LabError, match="not among the sysctls"):
        apply_advice(advice(("net.ipv4.ip_forward", "0", "1")), sysctls, 0)


def test_a_value_that_changed_since_the_advice_is_not_overwritten(sysctls: FakeSysctls) -> None:
    with pytest.raises(LabError, match="is 128 now, not 64"):
        apply_advice(advice((SOMAXCONN, "64", "256")), sysctls, 0)
    assert sysctls.values[OWN, SOMAXCONN] == "128"


def test_a_namespace_that_is_gone_has_nothing_to_undo(sysctls: FakeSysctls, monkeypatch: pytest.MonkeyPatch) -> None:
    apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    monkeypatch.setattr(applied, "_namespaces", lambda: iter(()))
    sysctls.cookie = 2  # another one has the number now
    assert outcomes(applied_changes(), sysctls) == ["gone"]
    assert sysctls.values[OWN, SOMAXCONN] == "256"
    assert applied_changes() == ()


def test_another_boot_has_nothing_to_undo(sysctls: FakeSysctls) -> None:
    name = apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    path = folder() / f"{name}{SUFFIX}"
    header, rest = path.read_text().split("\n", 1)
    path.write_text(f'{{"owner":{{"pid":1,"start_ticks":1,"boot":"earlier","locked":true}}}}\n{rest}')
    assert header.startswith('{"owner"')
    assert outcomes(applied_changes(), sysctls) == ["gone"]
    assert sysctls.values[OWN, SOMAXCONN] == "256"


def test_clean_leaves_what_was_applied(sysctls: FakeSysctls, run_directory: Path) -> None:
    apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    report = clean(run_directory)
    assert (report.undone, report.failed, report.unreadable) == ((), (), ())
    assert len(applied_changes()) == 1


@given(st.lists(st.tuples(st.sampled_from((SOMAXCONN, SYN)), st.integers(1, 9)), max_size=6))
def test_undoing_all_is_the_state_before(steps: list[tuple[str, int]]) -> None:
    sysctls = FakeSysctls(values={(OWN, SOMAXCONN): "1", (OWN, SYN): "1"})
    before = dict(sysctls.values)
    for key, value in steps:
        apply_advice(advice((key, sysctls.values[OWN, key], str(value))), sysctls, 0)
    undo_changes(applied_changes(), sysctls)
    assert sysctls.values == before
    assert applied_changes() == ()


def test_journals_that_are_none_are_passed_over(sysctls: FakeSysctls) -> None:
    name = apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 0)
    (folder() / "abcdef.journal").write_bytes(b"\xff{]\n" + b'{"kind":"sysctl","name":"kernel.x","old":"","new":""}')
    (folder() / "abcde1.journal").symlink_to("/etc/passwd")
    (folder() / "readme").touch()
    assert [each.id for each in applied_changes()] == [name]


def test_advice_is_carried_out_only_when_it_is_confirmed(sysctls: FakeSysctls) -> None:
    lines: list[str] = []
    advices = [advice((SOMAXCONN, "128", "256")), advice()]
    assert show_and_apply(advices, sysctls, lines.append, confirmed=False) == ()
    assert sysctls.values[OWN, SOMAXCONN] == "128"
    assert "  net.core.somaxconn: 128 -> 256" in lines
    assert lines[-1] == "nothing was changed; add --yes to change these sysctls"
    (name,) = show_and_apply(advices, sysctls, lines.append, confirmed=True)
    assert sysctls.values[OWN, SOMAXCONN] == "256"
    assert f"  changed; `perfctl undo {name}` puts it back" in lines


def test_the_command_lists_and_knows_ids(sysctls: FakeSysctls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undo", "--list"]) == 0
    assert capsys.readouterr().out == "there are no changes to undo\n"
    name = apply_advice(advice((SOMAXCONN, "128", "256")), sysctls, 1_700_000_000 * 10**9)
    assert main(["undo", "--list"]) == 0
    assert capsys.readouterr().out == f"{name}  2023-11-14 22:13:20Z  PC-X-Y  net.core.somaxconn: 128 -> 256\n"
    assert main(["undo", "PC-X-Z"]) == 2
    assert capsys.readouterr().err == f"perfctl undo: ID: there is no change 'PC-X-Z'; known: PC-X-Y, {name}\n"
