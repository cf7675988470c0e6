"""A guest's job and what it reports: encoded, parsed, cut off anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcheck.errors import LabError
from perfcheck.kernels.job import Kind, Step, StepReport, encode, first_failure, parse

WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
KINDS: tuple[Kind, ...] = ("run", "start", "listen", "stop", "write", "offer", "read")
STEPS = st.builds(
    Step, kind=st.sampled_from(KINDS), arguments=st.lists(WORDS, max_size=5).map(tuple), netns=WORDS,
    timeout_s=st.floats(0.001, 1000), may_fail=st.booleans(), in_turns=st.booleans(),
)  # fmt: skip
REPORTS = st.lists(
    st.builds(
        StepReport, status=st.integers(0, 255), took_ns=st.integers(0, 10**12), output=st.binary(max_size=60)
    ), max_size=6,
)  # fmt: skip


def written(reports: list[StepReport]) -> bytes:
    lines = [b"noise before\n@begin\n"]
    for number, each in enumerate(reports):
        lines.append(b"@step %d %d %d %d\n" % (number, each.status, each.took_ns, len(each.output)))
        lines.append(each.output + b"\n")
    return b"".join((*lines, b"@end %d\n" % len(reports)))


@given(st.lists(STEPS, max_size=4))
def test_a_job_has_all_words_of_its_steps_in_order(steps: list[Step]) -> None:
    words = encode(steps).decode().split("\0")[:-1]
    for step in steps:
        kind, netns, _, count, *rest = words
        assert kind.lstrip("?=") == step.kind
        assert ("?" in kind, "=" in kind) == (step.may_fail, step.in_turns)
        assert netns == step.netns
        assert tuple(rest[: int(count)]) == step.arguments
        words = rest[int(count) :]
    assert words == []


def test_what_cannot_be_passed_on_is_refused() -> None:
    with pytest.raises(LabError, match="zero byte"):
        encode([Step(kind="run", arguments=("a\0b",))])
    with pytest.raises(LabError, match="at most 512 words"):
        encode([Step(kind="run", arguments=("x",) * 513)])
    with pytest.raises(LabError, match="at most 4096 steps"):
        encode([Step(kind="run", arguments=("x",))] * 4097)


@given(REPORTS)
def test_reports_are_read_back_whole(reports: list[StepReport]) -> None:
    found = parse(written(reports))
    assert found.begun
    assert found.ended
    assert list(found.steps) == reports


@given(REPORTS, st.data())
def test_a_report_that_is_cut_off_has_the_first_steps_only(reports: list[StepReport], data: st.DataObject) -> None:
    whole = written(reports)
    part = parse(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert not part.ended
    assert list(part.steps) == reports[: len(part.steps)]


@given(st.binary(max_size=200))
def test_noise_is_no_report(noise: bytes) -> None:
    assert parse(noise.replace(b"@begin\n", b"")).steps == ()


def test_numbers_that_no_guest_has_are_no_report() -> None:
    assert parse(b"@begin\n@step 0 0 5 2\nok\n@step 1 0 " + b"9" * 5000 + b" 0\n\n").steps[1:] == ()


def test_a_failure_says_which_step_and_what_it_wrote() -> None:
    steps = [
        Step(kind="run", arguments=("modprobe", "x"), may_fail=True),
        Step(kind="run", arguments=("ip", "link"), netns="client"),
        Step(kind="run", arguments=("sleep", "9"), timeout_s=2),
    ]
    good, bad = StepReport(status=0, took_ns=1, output=b""), StepReport(status=1, took_ns=1, output=b"no such link\n")
    late = StepReport(status=124, took_ns=1, output=b"")
    assert first_failure(steps, [bad, good, good]) is None
    assert first_failure(steps, [good, bad]) == "`run ip link in client` failed with status 1: no such link"
    assert first_failure(steps, [good, good, late]) == "`run sleep 9` did not end within 2 s"


def test_files_of_a_reading_step_are_told_apart() -> None:
    report = StepReport(status=0, took_ns=1, output=b"@file /proc/a\n1 2\n@file /proc/b\n3\n")
    assert report.file("/proc/a") == "1 2\n"
    assert report.file("/proc/b") == "3\n"
    with pytest.raises(LabError, match="did not report /proc/c"):
        report.file("/proc/c")
