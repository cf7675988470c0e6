"""Names in a file that neither Linux nor this machine has; what another kernel would have is no mistake of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import ScenarioError
from perfcheck.scenario import load, load_text, local_checks
from perfcheck.scenario.local_checks import CONGESTION_CONTROLS, _differ_little
from perfcheck.system import sysctl

SCENARIO = """
scenario: a
hosts: {client: {HOST}, server: {}}
links: [{between: [client, server], delay: 10ms, LINK}]
traffic: [{iperf3: {from: client, to: server}}]
"""
WORDS = st.text("abc_", min_size=1, max_size=8)


def write(folder: Path, *, host: str = "", link: str = "rate: 10mbit") -> Path:
    path = folder / "a.yaml"
    path.write_text(SCENARIO.replace("HOST", host).replace("LINK", link))
    return path


@pytest.mark.parametrize("name", CONGESTION_CONTROLS)
def test_linuxs_own_congestion_controls_are_known_on_every_machine(tmp_path: Path, name: str) -> None:
    assert load(write(tmp_path, host=f"congestion: {name}"))


def test_one_that_this_machine_has_or_has_a_module_for_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, host="sysctl: {net.ipv4.tcp_congestion_control: ours}")
    with pytest.raises(ScenarioError, match=r"3:.*unknown congestion control 'ours'"):
        load(path)
    monkeypatch.setattr(local_checks, "_modules", lambda release: "kernel/net/ipv4/tcp_ours.ko.xz: x.ko")
    assert load(path)
    monkeypatch.setattr(local_checks, "_modules", lambda release: "")
    monkeypatch.setattr(sysctl, "read", lambda key: ("reno", "ours"))
    assert load(path)


def test_a_misspelt_one_in_a_matrix_is_told_at_its_value(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "matrix: {client.congestion: [cubic, cubik]}\n")
    with pytest.raises(ScenarioError, match=r"a.yaml:6:37: .*'cubik'.*did you mean 'cubic'") as caught:
        load(path)
    assert caught.value.exit_status == 2


def test_a_sysctl_that_a_newer_kernel_may_have_is_left_to_the_lab(tmp_path: Path) -> None:
    assert load(write(tmp_path, host="sysctl: {net.ipv4.tcp_quite_another_thing: 1}"))
    assert load(write(tmp_path, host="sysctl: {net.ipv4.conf.eth0.rp_filter: 1}")), "the lab makes eth0"
    assert load(write(tmp_path, host="sysctl: {net.no_such_module.knob: 1}"))


def test_a_text_that_is_no_file_of_this_machine_is_not_looked_up() -> None:
    assert load_text(SCENARIO.replace("HOST", "congestion: cubik").replace("LINK", "trace: lte.trace"), "a.yaml")


@given(WORDS, st.integers(0, 8), st.sampled_from("abc_"))
def test_a_letter_more_less_or_changed_and_two_swapped_differ_little(word: str, index: int, letter: str) -> None:
    index = min(index, len(word) - 1)
    before, after = word[:index], word[index + 1 :]
    for changed in (before + letter + word[index:], before + after, before + letter + after):
        assert _differ_little(word, changed) or word == changed
        assert _differ_little(changed, word) or word == changed
    if after:
        assert _differ_little(word, before + after[0] + word[index] + after[1:])


@pytest.mark.parametrize("other", ["tcp_ecn_fallback", "tcp_rto_max_ms", "tcp_xxmem", "udp_rmem"])
def test_other_words_differ_much(other: str) -> None:
    assert not _differ_little("tcp_rmem", other)
