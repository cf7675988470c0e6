from __future__ import annotations

import re
from pathlib import Path

import pytest
from baseline_records import MACHINE, SCENARIO, session, values_of

from perfcheck.baseline import BaselineStore, baseline_of, lookup_of
from perfcheck.baseline.document import rounded
from perfcheck.baseline.naming import flat, stem_of
from perfcheck.errors import CouldNotMeasure, OutputError, UsageError
from perfcheck.model.verdict import Verdict
from perfcheck.testing import make_scenario


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session())
    found = store.load(SCENARIO, session().environment)
    assert found.like is not None
    assert found.other is None
    assert found.environment == ()
    assert found.like.file == str(path)
    assert found.like.sessions_of("tcp.rtt_us.p50") == ((20_113.0, 20_098.5, 20_131.25),)
    assert found.like.conditions == {"links[0].loss": "0.1%", "links[0].delay": "10ms"}
    assert found.like.environment == flat(MACHINE)
    assert store.list() == (path,)


def test_each_save_adds_a_session_and_the_same_record_again_changes_nothing(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    path = store.save(session(1))
    store.save(session(2, metrics={"tcp.rtt_us.p50": (21_000.0,)}))
    text = path.read_text()
    before = path.stat()
    assert values_of(store, session()) == ((20_113.0, 20_098.5, 20_131.25), (21_000.0,))
    store.save(session(1))
    assert path.read_text() == text
    assert path.stat().st_ino == before.st_ino


def test_update_replaces_all_earlier_sessions(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session(1))
    store.save(session(2, metrics={"tcp.rtt_us.p50": (21_000.0,)}), update=True)
    assert values_of(store, session()) == ((21_000.0,),)


def test_an_accepted_change_leaves_the_metrics_earlier_sessions_out(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session(1))
    changed = session(2, metrics={"tcp.rtt_us.p50": (30_000.0,), "tcp.retrans_pct": (0.2,)})
    path = store.accept(changed, ["tcp.rtt_us.p50"], "the provider moved the exchange point")
    store.save(session(3, metrics={"tcp.rtt_us.p50": (30_100.0,)}))
    assert values_of(store, session()) == ((30_000.0,), (30_100.0,))
    # A change of another metric, which nobody accepted, must not come in with it.
    assert values_of(store, session(), "tcp.retrans_pct") == ((0.1, 0.0, rounded(1 / 3)),)
    assert "the provider moved the exchange point" in path.read_text()


def test_an_invalid_run_is_never_saved(tmp_path: Path) -> None:
    record = session(verdict=Verdict.INVALID, invalid_reason="link 0: 3 % loss measured")
    with pytest.raises(CouldNotMeasure, match="3 % loss"):
        BaselineStore(tmp_path).save(record)
    assert not list(tmp_path.rglob("*"))


def test_a_named_set_stands_apart(tmp_path: Path) -> None:
    named = BaselineStore(tmp_path, "before-upgrade")
    path = named.save(session())
    assert path.is_relative_to(tmp_path / "@before-upgrade" / "example")
    assert BaselineStore(tmp_path).list() == ()
    assert BaselineStore(tmp_path).load(SCENARIO, session().environment).found is None
    assert named.load(SCENARIO, session().environment).found is not None


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 80])
def test_a_name_that_is_no_folders_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="--baseline-name"):
        BaselineStore(Path("baselines"), name)


# which baseline is nearest


def test_a_like_machine_with_another_kernel_is_found_and_the_difference_is_told(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session(environment={"kernel.release": "6.1"}))
    found = store.load(SCENARIO, session(environment={"kernel.release": "6.12"}).environment)
    assert found.like is not None
    assert [str(each) for each in found.environment] == ["kernel.release: 6.1 -> 6.12"]


def test_what_was_not_looked_at_when_a_baseline_was_saved_is_no_difference(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session(environment={"kernel.release": "6.1"}))
    now = {"kernel.release": "6.1", "kernel.cmdline": "preempt=full", "nic.client.eth0.driver": "veth"}
    found = store.load(SCENARIO, session(environment=now).environment)
    assert [str(each) for each in found.environment] == ["kernel.cmdline: (none) -> preempt=full"]


def test_another_machine_is_never_taken_for_a_like_one(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session())
    found = store.load(SCENARIO, session(environment={"cpu.model": "Other 1"}).environment)
    assert found.like is None
    assert found.other is not None
    assert [str(each) for each in found.environment] == ["cpu.model: Example 9000 -> Other 1"]


def test_the_exact_environment_outranks_a_newer_like_one_and_that_outranks_another_machine(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    mine = store.save(session(1, environment={"kernel.release": "6.1"}))
    like = store.save(session(2, environment={"kernel.release": "6.12"}))
    store.save(session(3, environment={"cpu.model": "Other 1", "kernel.release": "6.1"}))
    here = session(environment={"kernel.release": "6.1"}).environment
    exact = store.load(SCENARIO, here).like
    assert exact is not None
    assert exact.file == str(mine)
    mine.unlink()
    next_best = store.load(SCENARIO, here).like
    assert next_best is not None
    assert next_best.file == str(like)


def test_a_baseline_through_another_emulator_is_no_baseline(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session())
    found = store.load(SCENARIO, session(environment={"emulators": ["netem"]}).environment)
    assert found.found is None
    assert found.missing == "the baseline was measured through relay, this run through netem"


def test_another_workload_under_the_same_name_is_no_baseline_and_the_next_save_drops_it(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session())
    changed = make_scenario(workload_digest="another")
    assert "another workload" in store.load(changed, session().environment).missing
    reference = session().scenario.model_copy(update={"workload": "another"})
    store.save(session(2, scenario=reference, metrics={"tcp.rtt_us.p50": (1.0,)}))
    found = store.load(changed, session().environment).like
    assert found is not None
    assert found.sessions_of("tcp.rtt_us.p50") == ((1.0,),)


def test_nothing_there_says_how_to_make_one(tmp_path: Path) -> None:
    found = BaselineStore(tmp_path).load(SCENARIO, MACHINE)
    assert found.found is None
    assert found.missing == f"no baseline in {tmp_path}/example: make one with --baseline-save"


def test_matrix_points_have_files_of_their_own(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    key = "server.sysctl.net.ipv4.tcp_congestion_control"
    paths = [store.save(session(point={key: name})) for name in ("cubic", "bbr")]
    assert [path.name.split("@")[0] for path in paths] == [
        "tcp_congestion_control=cubic", "tcp_congestion_control=bbr",
    ]  # fmt: skip
    point = make_scenario(point=((key, "bbr"),))
    found = store.load(point, session().environment).like
    assert found is not None
    assert found.file == str(paths[1])
    assert store.load(SCENARIO, session().environment).found is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a.sysctl.x": "1", "b.sysctl.x": "2"}, {"a.sysctl.x": "2", "b.sysctl.x": "1"}),
        ({"a.x": "1/2"}, {"a.x": "1-2"}),
        ({"a.x": "y" * 200}, {"a.x": "y" * 201}),
        ({}, {"a": "base"}),
    ],
)
def test_points_that_differ_have_names_that_differ(left: dict[str, str], right: dict[str, str]) -> None:
    assert stem_of(left) != stem_of(right)
    assert all(re.fullmatch(r"[A-Za-z0-9._=,+~-]{1,120}", stem_of(point)) for point in (left, right))


def test_before_a_run_the_newest_baseline_of_any_environment_is_given(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path)
    store.save(session(1))
    newer = store.save(session(2, environment={"cpu.model": "Other 1"}))
    found = store.load(SCENARIO).found
    assert found is not None
    assert found.file == str(newer)


def test_a_stored_record_can_stand_for_a_baseline() -> None:
    before, after = session(1), session(2)
    found = lookup_of(baseline_of(before), after)
    assert found.like is not None
    assert found.like.sessions_of("tcp.rtt_us.p50") == ((20_113.0, 20_098.5, 20_131.25),)
    other = after.model_copy(update={"scenario": after.scenario.model_copy(update={"workload": "another"})})
    assert "different workloads" in lookup_of(baseline_of(before), other).missing


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / SCENARIO.name).write_text("a file in the way")
    with pytest.raises(OutputError, match=r"cannot write this baseline: File exists"):
        BaselineStore(tmp_path).save(session())
