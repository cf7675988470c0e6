"""A bisect: what verdicts count as, what is skipped, what ends it, and what goes on from kept steps."""

from __future__ import annotations

import pytest
from bisect_kernels import (
    METRIC,
    Answer,
    KeptSteps,
    ListWatcher,
    NamedKernels,
    ScriptedCompare,
    guest_side,
    pair_of,
)

from perfcheck.errors import BuildFailed, CouldNotMeasure, GuestDied, LabError, Stopped, Unavailable
from perfcheck.model.bisection import BisectOutcome, Finding
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bisecting.bisection import Bisection, step_of

NAMES = tuple("abcdefgh")
REGRESSED, PASS = Verdict.REGRESSED, Verdict.PASS


def died(name: str) -> GuestDied:
    return GuestDied(name, "a panic: not syncing", ("Kernel panic",))


def answers(**given: Answer) -> dict[str, Answer]:
    """Return answers in which f and what comes after it are bad, except for those that are given."""
    return {name: REGRESSED if name >= "f" else PASS for name in NAMES} | given


class Bisected:
    """A bisect with scripted answers, and all that it did."""

    def __init__(
        self, given: dict[str, Answer], *, kernels: NamedKernels | None = None, kept: KeptSteps | None = None,
        verify: bool = True,
    ) -> None:  # fmt: skip
        self.kernels = kernels or NamedKernels(NAMES)
        self.compare = ScriptedCompare(given)
        self.kept = kept or KeptSteps()
        self.watcher = ListWatcher()
        self.bisection = Bisection(
            kernels=self.kernels, metric=METRIC, compare=self.compare, kept=self.kept, watcher=self.watcher,
            verify=verify,
        )  # fmt: skip

    def run(self) -> BisectOutcome:
        return self.bisection.run()

    @property
    def judged(self) -> str:
        return "".join(other for _, other in self.compare.compared)


def test_the_first_bad_kernel_is_found_after_the_bad_one_is_verified() -> None:
    bisected = Bisected(answers())
    outcome = bisected.run()
    assert outcome.first_bad == "f"
    assert bisected.judged == "hdfe"
    assert {good for good, _ in bisected.compare.compared} == {"a"}
    assert [step.finding for step in outcome.steps] == [Finding.BAD, Finding.GOOD, Finding.BAD, Finding.GOOD]
    assert (outcome.steps[0].change_pct, outcome.steps[0].interval_pct, outcome.steps[0].pairs) == (2.5, (2.4, 2.6), 9)
    assert len(bisected.watcher.records) == 8


def test_the_good_kernel_is_made_once_and_each_other_one_removed_before_the_next() -> None:
    bisected = Bisected(answers())
    bisected.run()
    assert bisected.kernels.noted == [
        "make a", "make h", "remove h", "make d", "remove d", "make f", "remove f", "make e", "remove e", "remove a",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [
        (Verdict.REGRESSED, Finding.BAD),
        (Verdict.PASS, Finding.GOOD),
        (Verdict.IMPROVED, Finding.GOOD),
        (Verdict.INCONCLUSIVE, Finding.SKIPPED),
        (Verdict.INVALID, Finding.SKIPPED),
    ],
)
def test_what_a_verdict_counts_as(verdict: Verdict, finding: Finding) -> None:
    step = step_of("x", pair_of(verdict)[1], METRIC)
    assert (step.finding, step.verdict) == (finding, verdict)
    assert (step.reason is not None) is (finding is Finding.SKIPPED)


def test_only_the_metric_decides() -> None:
    step = step_of("x", pair_of(Verdict.REGRESSED)[1], "cpu.insns_per_byte")
    assert (step.finding, step.reason) == (Finding.SKIPPED, "cpu.insns_per_byte was not measured")


@pytest.mark.parametrize(
    "spoilt",
    [died("e"), BuildFailed("`make` failed: error"), LabError("no veth"), Verdict.INCONCLUSIVE, Verdict.INVALID],
    ids=str,
)
def test_what_cannot_be_judged_is_skipped_and_the_range_is_named(spoilt: Answer) -> None:
    outcome = Bisected(answers(e=spoilt)).run()
    assert (outcome.first_bad, outcome.suspects) == (None, ("e", "f"))
    skipped = next(step for step in outcome.steps if step.candidate == "e")
    assert skipped.finding is Finding.SKIPPED
    assert skipped.reason


def test_a_skipped_kernel_elsewhere_changes_nothing() -> None:
    outcome = Bisected(answers(d=died("d"), g=died("g"))).run()
    assert outcome.first_bad == "f"


def test_a_kernel_that_does_not_build_is_skipped_and_told() -> None:
    kernels = NamedKernels(NAMES, {"d": BuildFailed("`make` failed")})
    bisected = Bisected(answers(), kernels=kernels)
    assert bisected.run().first_bad == "f"
    assert "failed d: `make` failed" in bisected.watcher.told


@pytest.mark.parametrize("verdict", [PASS, Verdict.IMPROVED])
def test_without_a_regression_there_is_nothing_to_bisect(verdict: Verdict) -> None:
    bisected = Bisected(answers(h=verdict))
    outcome = bisected.run()
    assert (bisected.judged, outcome.suspects) == ("h", ())
    assert outcome.reason == "cpu.insns_per_request of kernel h is no worse than that of kernel a"


@pytest.mark.parametrize("spoilt", [Verdict.INCONCLUSIVE, died("h")], ids=str)
def test_a_bad_kernel_that_cannot_be_judged_is_told(spoilt: Answer) -> None:
    outcome = Bisected(answers(h=spoilt)).run()
    assert outcome.suspects == ()
    assert outcome.reason is not None
    assert outcome.reason.startswith("kernel h could not be judged: ")


def test_the_bad_kernel_is_taken_for_bad_if_asked() -> None:
    bisected = Bisected(answers(h=PASS), verify=False)
    assert bisected.run().first_bad == "f"
    assert "h" not in bisected.judged


@pytest.mark.parametrize("kind", [died("a"), BuildFailed("`make` failed")], ids=str)
def test_a_good_kernel_that_does_not_work_ends_it(kind: Exception) -> None:
    kernels = NamedKernels(NAMES, {"a": kind} if isinstance(kind, BuildFailed) else {})
    bisected = Bisected(answers(d=kind), kernels=kernels)
    with pytest.raises(CouldNotMeasure, match=r"^the good kernel"):
        bisected.run()
    assert all(step.candidate != "d" for step in bisected.kept.steps)


def test_of_two_command_lines_of_one_kernel_the_judged_one_died() -> None:
    good, other = guest_side("x"), guest_side("x", "panic_now")
    bisected = Bisected({"x": died("x")})
    with pytest.raises(GuestDied):
        bisected.bisection._compared(good, other)


@pytest.mark.parametrize("stop", [Unavailable("QEMU", "not there", "install it"), Stopped("SIGTERM")], ids=str)
def test_what_the_machine_lacks_ends_it_and_what_is_done_is_kept(stop: Exception) -> None:
    bisected = Bisected(answers(f=stop))
    with pytest.raises(type(stop)):
        bisected.run()
    assert [step.candidate for step in bisected.kept.steps] == ["h", "d"]
    assert bisected.kernels.noted[-2:] == ["remove f", "remove a"]


@pytest.mark.parametrize("done", range(5))
def test_it_goes_on_from_kept_steps_without_measuring_them_again(done: int) -> None:
    whole = Bisected(answers())
    whole.run()
    kept = KeptSteps(whole.kept.steps[:done])
    rest = Bisected(answers(), kept=kept)
    assert rest.run().first_bad == "f"
    assert rest.judged == "hdfe"[done:]
    assert (not rest.kernels.noted) is (done == 4)


@pytest.mark.parametrize(
    ("reason", "lasting"),
    [
        (GuestDied("d", "a panic: not syncing", (), panicked=True), True),
        (BuildFailed("`make` failed"), True),
        (Verdict.INCONCLUSIVE, True),
        (GuestDied("d", "it did not come to the end of its boot within 120 s", ()), False),
        (LabError("the journal cannot be written"), False),
        (Verdict.INVALID, False),
    ],
    ids=str,
)
def test_only_what_the_kernel_itself_is_to_blame_for_is_skipped_again_later(reason: Answer, lasting: bool) -> None:
    bisected = Bisected(answers(d=reason))
    assert bisected.run().first_bad == "f"
    assert ("d" in [step.candidate for step in bisected.kept.lasting]) is lasting


def test_each_step_is_announced_with_what_is_left() -> None:
    bisected = Bisected(answers())
    bisected.run()
    assert [line for line in bisected.watcher.told if line[0].isdigit()] == ["1 h 1", "2 d 3", "3 f 2", "4 e 1"]
