"""`perfcheck bisect`: the kernel that brought a regression, among those of the store or the commits of a tree."""

from __future__ import annotations

import argparse
import hashlib
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perfcheck.cli.formats import STDOUT
from perfcheck.cli.measuring import begun
from perfcheck.errors import PerfcheckError, Stopped, UsageError
from perfcheck.model.bisection import BisectOutcome, BisectStep, Finding
from perfcheck.model.printable import printable
from perfcheck.model.scenario import Scenario
from perfcheck.output import ConsoleProgress, JsonLinesOutput, Outputs
from perfcheck.output.bisection import outcome_lines, step_line, steps_table
from perfcheck.output.terminal import SafeConsole, console_for
from perfcheck.runner import Runner, RunOptions
from perfcheck.runner.bisecting.bisection import SKIPPING, Bisection, Kernels, Pair, skipped, step_of
from perfcheck.runner.bisecting.building import Build, build
from perfcheck.runner.bisecting.commits import commit_of, repository_of, require_ancestor
from perfcheck.runner.bisecting.kernel_list import KernelEntry, KernelList
from perfcheck.runner.bisecting.measuring import GuestComparison, StepProgress, check_metric
from perfcheck.runner.bisecting.state import BisectState, default_path
from perfcheck.runner.bisecting.tree import KernelTree, WorkFolder, added, config_of, tree_side, work_base
from perfcheck.runner.options import check_metrics, check_subjects
from perfcheck.runner.sides import Side
from perfcheck.runner.summary import reproduce_pairs
from perfcheck.runner.unmeasured import now, unmeasured_pairs
from perfcheck.scenario import digest, load_all
from perfcheck.system import stop_on_signals
from perfcheck.system.printing import complain

CANNOT_TELL: Final = 125
"""What `git bisect run` skips a commit for."""
NOT_WITH_STEP: Final = ("kernels", "bad", "state", "restart", "no_verify", "config")


def bisect(arguments: argparse.Namespace) -> int:
    """Find the first bad kernel, or judge one commit for git; 0 where it is found, 3 where it cannot be."""
    options = RunOptions(tolerances=tuple(arguments.tolerance), commands=not arguments.no_commands)
    scenario = _scenario(arguments, options)
    session = _Session.of(arguments, scenario, options)
    if arguments.step:
        return _judge_step(arguments, session)
    for option in ("bad", "good"):
        if getattr(arguments, option) is None:
            raise UsageError(f"--{option}: name a kernel, or a commit of --tree")
    kernels = _kernels(arguments, session)
    key = _key(arguments, scenario, kernels)
    path = arguments.state or default_path(key)
    conditions = _conditions(arguments, scenario, kernels, key)
    state_file = BisectState.open(path, conditions, restart=arguments.restart)
    with session.begun(), stop_on_signals(), kernels, state_file as state:
        session.tell_kept(kernels, state.steps, path)
        bisection = Bisection(
            kernels=kernels, metric=arguments.metric, compare=session.compare, kept=state,
            watcher=_Watcher(session, kernels), verify=not arguments.no_verify,
        )  # fmt: skip
        try:
            outcome = bisection.run()
        except (KeyboardInterrupt, Stopped, PerfcheckError):
            session.progress.clear()
            complain(f"perfcheck: {len(state.steps)} steps are kept in {path}; the same command goes on from there")
            raise
        session.tell_outcome(outcome, kernels)
    return 0 if outcome.first_bad is not None and not session.records.problems else 3


@dataclass(slots=True, kw_only=True)
class _Session:
    """What is measured, and where it is told."""

    scenario: Scenario
    metric: str
    console: SafeConsole
    progress: ConsoleProgress
    step: StepProgress
    records: Outputs
    runner: Runner
    again: str | None

    @classmethod
    def of(cls, arguments: argparse.Namespace, scenario: Scenario, options: RunOptions) -> _Session:
        console = console_for(stderr=arguments.json == STDOUT)
        progress = ConsoleProgress(console)
        path = None if arguments.json == STDOUT else arguments.json
        return cls(
            scenario=scenario, metric=arguments.metric, console=console, progress=progress,
            step=StepProgress(progress), runner=Runner.create(options, progress),
            records=Outputs([] if arguments.json is None else [JsonLinesOutput(path)]), again=_again(arguments),
        )  # fmt: skip

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Begin; CouldNotMeasure where nothing can be measured here."""
        with begun(self.runner, self.progress, self.records) as refusal:
            if refusal is not None:
                raise refusal
            yield

    @property
    def compare(self) -> GuestComparison:
        return GuestComparison(scenario=self.scenario, metric=self.metric, progress=self.step)

    def say(self, text: str) -> None:
        self.progress.clear()
        self.console.print(text, soft_wrap=True)

    def tell_stage(self, text: str) -> None:
        self.step.stage(self.scenario, text, 0, 1)

    def write(self, pair: Pair) -> None:
        for record in pair:
            self.records.write(record if self.again is None else record.model_copy(update={"reproduce": self.again}))

    def tell_kept(self, kernels: _AnyKernels, steps: tuple[BisectStep, ...], path: Path) -> None:
        if steps:
            self.say(f"{len(steps)} steps of an earlier start, kept in {path} (--restart begins again):")
        for number, step in enumerate(steps, 1):
            self.say(step_line(number, step, kernels.described))

    def tell_outcome(self, outcome: BisectOutcome, kernels: _AnyKernels) -> None:
        self.progress.clear()
        self.console.print()
        self.console.print(steps_table(outcome, kernels.described))
        for line in outcome_lines(outcome, kernels.described):
            self.say(line)
        if isinstance(kernels, KernelList) and outcome.first_bad is not None:
            before, after = (kernels.entry(name).side().side for name in (outcome.last_good, outcome.first_bad))
            self.say(f"where it got longer: {reproduce_pairs(self.scenario, before.text, after.text)}")


class _Watcher:
    """Tells a bisect's steps, and writes their records."""

    def __init__(self, session: _Session, kernels: Kernels) -> None:
        self._session = session
        self._kernels = kernels
        self._number = 0

    def begins(self, candidate: str, number: int, left: int) -> None:
        self._number = number
        named = self._kernels.described(candidate)
        self._session.step.step = f"step {number}, {named}"
        others = "" if left <= 1 else f"; at most {left - 1} after it, if none is skipped"
        self._session.say(f"{number}: {named} against {self._kernels.described(self._kernels.good)}{others}")

    def measured(self, pair: Pair) -> None:
        self._session.write(pair)

    def failed(self, candidate: str, why: str) -> None:
        sides = [_named_side(self._kernels.described(name)) for name in (self._kernels.good, candidate)]
        self._session.write(unmeasured_pairs(self._session.scenario, why, now(), *sides))

    def ended(self, step: BisectStep) -> None:
        self._session.say(step_line(self._number, step, self._kernels.described))


def _judge_step(arguments: argparse.Namespace, session: _Session) -> int:
    """Build the tree as it is checked out and compare it with the good kernel: what `git bisect run` asks."""
    if arguments.good is None:
        raise UsageError("--good: name the kernel of the store that the tree is compared with")
    given = [name for name in NOT_WITH_STEP if getattr(arguments, name)]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')}: not with --step, which judges the tree as it is checked out")
    tree = (arguments.tree or Path()).absolute()
    if not tree.is_dir():
        raise UsageError(f"--tree {tree}: no such folder")
    how = Build.of(arguments.build, arguments.built)
    config_of(tree, None, needed=how.configured)
    good = KernelEntry.parse(arguments.good).side()
    name = str(tree)
    with session.begun(), stop_on_signals(), WorkFolder.made(work_base()) as work:
        session.step.step = "the tree"
        try:
            session.tell_stage(f"building: {how}")
            build(how, tree, work.log, work.journal)
            with added(work.store, tree / how.result, "step") as kernel:
                pair = session.compare(good, tree_side(kernel))
        except SKIPPING as error:
            session.write(unmeasured_pairs(session.scenario, str(error), now(), good.side, _named_side(name)))
            step = skipped(name, error)
        else:
            session.write(pair)
            step = step_of(name, pair[1], arguments.metric)
        session.say(step_line(1, step, str))
    return {Finding.GOOD: 0, Finding.BAD: 1, Finding.SKIPPED: CANNOT_TELL}[step.finding]


def _named_side(name: str) -> Side:
    return Side(kind="kernel", text=f"kernel={name}", value=name)


def _again(arguments: argparse.Namespace) -> str | None:
    """Return the command that measures kernels again which are gone after their step; None for those of the store."""
    if arguments.kernels is not None:
        return None
    words = ["perfcheck", "bisect", str(arguments.file), "--metric", arguments.metric]
    for name in ("tree", "good", "bad", "built", "config", "select"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}", str(value)]
    words += [word for text in arguments.build for word in ("--build", text)]
    words += [word for metric, pct in arguments.tolerance for word in ("--tolerance", f"{metric}={pct:g}%")]
    return shlex.join([*words, *(["--step"] if arguments.step else [])])


def _scenario(arguments: argparse.Namespace, options: RunOptions) -> Scenario:
    """Return the one scenario that is measured; UsageError where the file has several, or it lacks the metric."""
    files = load_all([arguments.file], commands=not arguments.no_commands, trace_outside=arguments.trace_outside)
    every = [scenario for file in files for scenario in file.scenarios]
    found = [one for one in every if arguments.select is None or arguments.select in one.label]
    if len(found) != 1:
        labels = ", ".join(one.label for one in found[:8])
        what = f"{len(found)} scenarios ({labels}{', ...' if len(found) > 8 else ''})" if found else "no scenario"
        raise UsageError(f"{arguments.file}: one scenario is bisected, got {what}; choose one with --select TEXT")
    check_metrics(options.tolerances, found)
    check_subjects(options.tolerances, found)
    scenario = options.applied_to(found[0])
    check_metric(scenario, arguments.metric)
    return scenario


_AnyKernels = KernelList | KernelTree


def _kernels(arguments: argparse.Namespace, session: _Session) -> _AnyKernels:
    """Return what is searched; UsageError for kernels that the store lacks, and commits that the tree lacks."""
    if (arguments.kernels is None) == (arguments.tree is None):
        raise UsageError("give either --kernels or --tree")
    if arguments.kernels is not None:
        for option in ("build", "built", "config"):
            if getattr(arguments, option):
                raise UsageError(f"--{option}: only with --tree")
        listed = KernelList.parse(arguments.kernels, arguments.good, arguments.bad)
        for entry in listed.entries:
            entry.side()
        return listed
    repository = repository_of(arguments.tree)
    good, bad = (commit_of(repository, f"--{name}", getattr(arguments, name)) for name in ("good", "bad"))
    require_ancestor(repository, good, bad)
    how = Build.of(arguments.build, arguments.built)
    config = config_of(repository, arguments.config, needed=how.configured)
    return KernelTree(repository=repository, good=good, bad=bad, build=how, config=config, told=session.tell_stage)


def _key(arguments: argparse.Namespace, scenario: Scenario, kernels: _AnyKernels) -> Mapping[str, str]:
    """Return the arguments that a state is of."""
    if isinstance(kernels, KernelTree):
        what = {"tree": str(kernels.repository), "build": f"{kernels.build} {kernels.build.result}"}
    else:
        what = {"kernels": ", ".join(entry.text for entry in kernels.entries)}
    key = {
        "file": str(arguments.file.absolute()), "scenario": scenario.label, "metric": arguments.metric,
        "good": kernels.good, "bad": kernels.bad, **what,
    }  # fmt: skip
    return {name: printable(text) for name, text in key.items()}


def _conditions(
    arguments: argparse.Namespace, scenario: Scenario, kernels: _AnyKernels, key: Mapping[str, str]
) -> Mapping[str, str]:
    """Return all that verdicts rest on: the arguments, and digests of what they name."""
    margin = scenario.tolerance_pct.get(arguments.metric)
    content = {"margin": "" if margin is None else f"{margin:g} %", "content of the scenario": digest(scenario)}
    if isinstance(kernels, KernelTree):
        images = {} if kernels.config is None else {"configuration": _sha256(kernels.config)}
    else:
        images = {
            f"image of {entry.name}": _sha256(entry.side().guest.kernel.image) for entry in kernels.entries
        }  # fmt: skip
    return {**key, **content, **images}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
