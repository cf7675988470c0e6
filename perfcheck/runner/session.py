"""A session of measurements: collectors attached once, then one scenario after the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakSet, finalize

from perfcheck.baseline import BaselineStore, baseline_of, baselines_at, lookup_of
from perfcheck.collect import collectors, prepare
from perfcheck.collect.session import Core
from perfcheck.compare import MoreRuns, changed_conditions, judge, more_runs, planned_metrics
from perfcheck.confirm import LineOf
from perfcheck.diagnose import RuleSet, load_rules
from perfcheck.errors import Stopped, Unavailable, UsageError
from perfcheck.lab import plan
from perfcheck.lab.links import emulators
from perfcheck.model.baseline import BaselineLookup
from perfcheck.model.confirmation import ConfirmationRecord
from perfcheck.model.record import ComparisonRecord, RunRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Collector, Progress
from perfcheck.model.verdict import Verdict
from perfcheck.output.cases import untrusted
from perfcheck.output.events import EventLines
from perfcheck.output.outputs import close_files
from perfcheck.output.series import SeriesFile
from perfcheck.runner.bench import Bench, judged
from perfcheck.runner.budget import core_budget
from perfcheck.runner.confirming import CauseTest, PrepareLab
from perfcheck.runner.kernel_choice import check_kernels
from perfcheck.runner.measured import Measured
from perfcheck.runner.measurement import Measurement
from perfcheck.runner.options import RunOptions
from perfcheck.runner.placing import in_guest, in_guests
from perfcheck.runner.side_by_side import measure_pairs
from perfcheck.runner.sides import Side
from perfcheck.runner.summary import diagnosed_against
from perfcheck.runner.unmeasured import interrupted_by, unmeasured, unmeasured_pairs
from perfcheck.runner.where import Where, lab_of, placed, real_of
from perfcheck.system import clean, measuring_lock, stop_on_signals
from perfcheck.system.checks import require_privileges
from perfcheck.system.modules import loaded_modules


def _confirmed(bench: Measured, wanted: MoreRuns) -> RunRecord:
    """Make the runs that a comparison asks for, and give the record of all."""
    bench.measure(wanted.runs, why=f"confirming {', '.join(wanted.metrics)}")
    return bench.summary()


class _Silent:
    """A Progress that says nothing."""

    def stage(self, scenario: Scenario, text: str, done: int, total: int) -> None:
        """Ignore."""


class Runner:
    """One session of measurements.

    Example:
        >>> with Runner.create(RunOptions()) as runner:      # doctest: +SKIP
        ...     record = runner.run(scenario)
    """

    def __init__(self, options: RunOptions, progress: Progress | None = None) -> None:
        """Prepare nothing yet; `progress` is told of each stage."""
        self.options = options
        self._progress = progress or _Silent()
        self._cleanup = ExitStack()
        self._unavailable: dict[str, str] = {}
        self._lacking: Unavailable | None = None
        self._modules: frozenset[str] = frozenset()
        self._loaded_rules: RuleSet | None = None
        self._at_ref: Path | None = None
        self._remove_at_ref: finalize[..., Runner] | None = None
        self._attached: dict[str, Collector] = {}
        self._measurements: WeakSet[Measurement] = WeakSet()
        self._events = EventLines(options.events) if options.events is not None else None
        self._series = SeriesFile(options.series) if options.series is not None else None

    @classmethod
    def create(cls, options: RunOptions, progress: Progress | None = None) -> Self:
        """Return a runner; collectors are attached on its first run, not before."""
        return cls(options, progress)

    def __enter__(self) -> Self:
        """Undo what a killed run left behind; files that cannot be written are told.

        Missing privileges are told by the scenarios that need them: guests and real machines ask for none here.
        """
        try:
            require_privileges()
            clean()
        except Unavailable as lacking:
            self._lacking = lacking
        self._open_files()
        return self

    def _open_files(self) -> None:
        files = [file for file in (self._events, self._series) if file is not None]
        self._cleanup.callback(close_files, [file.close for file in files])
        for file in files:
            file.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Detach all collectors."""
        self._cleanup.close()

    def close(self) -> None:
        """Remove what was kept for comparing, also where the session was never entered; safe to call twice."""
        if self._remove_at_ref is not None:
            self._remove_at_ref()

    def planned_comparisons(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the metrics that a run with a baseline, or side by side, will compare, known before the run."""
        scenario = self.options.applied_to(scenario)
        if self.options.ab is not None:
            return planned_metrics(scenario, BaselineLookup())
        return planned_metrics(scenario, self._store().load(scenario))

    def save_baseline(
        self, record: RunRecord, *, update: bool = False, accept: Sequence[str] = (), reason: str = ""
    ) -> Path:
        """Add the record to its baseline (`update`: in place of all earlier sessions); gives the file.

        Of the metrics in `accept` earlier sessions no longer count, for this reason.
        """
        if self.options.baseline_ref is not None:
            raise UsageError("baselines of a commit cannot be changed: save without --baseline-ref")
        for measured in list(self._measurements):
            if measured.scenario.name == record.scenario.name:
                # What is compared later is compared with the sessions as they were before.
                measured.lookup(self._store().load, None)
        if accept:
            return self._store().accept(record, accept, reason)
        return self._store().save(record, update=update)

    def moved_since_saved(self, scenario: Scenario, record: RunRecord) -> tuple[ComparisonRecord, ...]:
        """Return the metrics that are certainly not what the sessions say to which `save_baseline` would add them."""
        known = self._store().of(record)
        if known is None:
            return ()
        compared = judge(self.options.applied_to(scenario), record, lookup_of(known, record))
        return tuple(each for each in compared if each.verdict in (Verdict.REGRESSED, Verdict.IMPROVED))

    def check_kernels(self) -> None:
        """Raise UsageError for a kernel of the options that the store lacks."""
        check_kernels(self.options.kernel, *map(Side.parse, self.options.ab or ()))

    def run(self, scenario: Scenario) -> RunRecord:
        """Measure, diagnose and judge one scenario.

        Raises a subclass of CouldNotMeasure when nothing could be measured. What was measured but
        cannot be trusted comes back with verdict INVALID and its reason.
        """
        scenario = placed(self.options.applied_to(scenario))
        # Malformed rule files and baselines, and a wrong name of a set, are told before anything is measured.
        rules = self._rules()
        if self.options.baseline:
            self._store().load(scenario)
        sides = None if self.options.ab is None else [Side.parse(text) for text in self.options.ab]
        if sides is not None:
            return self.ab(scenario, *sides)[1]
        with self._measuring(scenario, rules) as bench:
            return self._against_baseline(scenario, bench)

    def ab(self, scenario: Scenario, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        """Measure A and B in interleaved pairs until each metric is settled; B's record has the comparisons.

        Raises as `run` does.
        """
        scenario = placed(self.options.applied_to(scenario))
        if in_guests(self.options.kernel, a, b):
            # The kernel lab is imported only where it is needed.
            from perfcheck.runner.guests import compare_in_guests

            return compare_in_guests(scenario, self.options.kernel, a, b, self._progress)
        with self._ready(scenario) as where:
            return self._side_by_side(scenario, where, a, b)

    def confirm(
        self, scenario: Scenario, cause: str, *, entry: str | None = None, line_of: LineOf = lambda _: 1,
        told: Callable[[bool, TrialRecord], None] = lambda *_: None,
        interrupted: Callable[[ConfirmationRecord], None] = lambda _: None,
    ) -> ConfirmationRecord:  # fmt: skip
        """Test a cause: relieve the suspected limit and nothing else, in runs between unchanged ones.

        `entry`: the traffic entry of which it is the cause. `line_of` gives the lines that messages name. `told`
        is given each run, and whether the limit was relieved in it; `interrupted` what was found until a signal ended
        the test. Each run has a lab of its own, so that what one lab's hosts still run never disturbs another's.
        """
        scenario = self.options.applied_to(scenario)
        rules = self._rules()
        if scenario.is_real:
            raise UsageError(
                f"{scenario.label}: a cause is tested in this machine's lab; real machines stay as they are"
            )
        with self._ready(scenario) as where:

            def run(one: Scenario, prepare_lab: PrepareLab | None, *, traffic: bool = True) -> TrialRecord | None:
                with self._bench(one, where, rules, prepare_lab, _Silent()) as bench:
                    if traffic:
                        bench.trial()
                        told(prepare_lab is not None, bench.trials[-1].record)
                return bench.trials[-1].record if bench.trials else None

            test = CauseTest(scenario, cause, entry, run, self._progress)
            try:
                return test.outcome(line_of)
            except (KeyboardInterrupt, Stopped) as stop:
                interrupted(test.so_far(interrupted_by(stop)))
                raise

    def unmeasured(self, scenario: Scenario, reason: str, started_at: str) -> RunRecord:
        """Return the record of a scenario of which nothing was measured."""
        scenario = self.options.applied_to(scenario)
        if self.options.ab is not None:
            a, b = map(Side.parse, self.options.ab)
            return unmeasured_pairs(scenario, reason, started_at, a, b, kernel=self.options.kernel)[1]
        record = unmeasured(scenario, reason, started_at)
        return in_guest(record, self.options) if in_guests(self.options.kernel) else record

    def measure(self, scenario: Scenario) -> Measurement:
        """Measure and diagnose one scenario without comparing it; what comes back can be compared later.

        Raises as `run` does.
        """
        scenario = placed(self.options.applied_to(scenario))
        with self._opened(scenario) as bench:
            bench.measure(scenario.repeat)
            made = Measurement(scenario=scenario, record=bench.summary(), trials=bench.trials, comparing=self)
        self._measurements.add(made)
        return made

    def compared(self, measured: Measurement, baseline: str | RunRecord | None) -> RunRecord:
        """Return a measurement's record compared with a stored baseline (of a named set), or with another record.

        The scenario's lab is built again where a comparison asks for more runs before it may fail.
        """
        scenario = measured.scenario

        def again(wanted: MoreRuns) -> RunRecord:
            with self._opened(scenario, measured) as bench:
                return _confirmed(bench, wanted)

        if isinstance(baseline, RunRecord):
            if (reason := untrusted(baseline)) is not None:
                raise UsageError(f"{scenario.label}: the run to compare with is INVALID: {reason}")
            compared = self._judged(scenario, measured.record, lookup_of(baseline_of(baseline), measured.record), again)
            # No option compares with that record again.
            return compared.model_copy(update={"reproduce": measured.record.reproduce})
        lookup = measured.lookup(self._store(baseline).load, baseline)
        return self._judged(scenario, measured.record, lookup, again)

    @contextmanager
    def _opened(self, scenario: Scenario, earlier: Measurement | None = None) -> Iterator[Measured]:
        # Malformed rule files are told before anything is measured.
        rules = self._rules()
        with self._measuring(scenario, rules) as bench:
            if earlier is not None:
                bench.go_on(earlier.record, earlier.trials)
            yield bench

    @contextmanager
    def _measuring(self, scenario: Scenario, rules: RuleSet) -> Iterator[Measured]:
        """Yield what makes trials: a lab on this machine, or guests where a kernel is named."""
        if in_guests(self.options.kernel):
            from perfcheck.runner.guests import bench_in_guests

            with bench_in_guests(scenario, self.options, rules, self._progress, self._events, self._series) as guests:
                yield guests
        else:
            with self._ready(scenario) as core, self._bench(scenario, core, rules) as bench:
                yield bench

    def _against_baseline(self, scenario: Scenario, bench: Measured) -> RunRecord:
        """Measure as often as the scenario says, and again where a comparison asks for more before it may fail."""
        bench.measure(scenario.repeat)
        record = bench.summary()
        # An `expect` line that could not be judged leaves what the run did measure to be compared.
        if not self.options.baseline or record.invalid_reason is not None:
            return record
        lookup = self._store().load(scenario, record.environment)
        return self._judged(scenario, record, lookup, lambda wanted: _confirmed(bench, wanted))

    def _judged(
        self, scenario: Scenario, record: RunRecord, lookup: BaselineLookup, again: Callable[[MoreRuns], RunRecord]
    ) -> RunRecord:
        """Compare; what tripped the screen is decided by fresh runs, which `again` makes."""
        comparisons = judge(scenario, record, lookup)
        wanted = more_runs(comparisons, record, lookup)
        if wanted is not None:
            record = again(wanted)
            if record.invalid_reason is not None:
                return record
            comparisons = judge(scenario, record, lookup, screened_runs=scenario.repeat)
        record = record.model_copy(update={"reproduce": f"{record.reproduce} {self.options.comparing()}"})
        record = judged(record, comparisons=comparisons, changed_conditions=changed_conditions(record, lookup))
        return diagnosed_against(record, self._rules(), lookup)

    def _side_by_side(self, scenario: Scenario, where: Where, a: Side, b: Side) -> tuple[RunRecord, RunRecord]:
        # One valid trial makes a record here: how many pairs are enough is the looks' business.
        scenario = scenario.model_copy(update={"repeat": 1})
        rules = self._rules()
        one, other = (self._bench(side.applied_to(scenario), where, rules) for side in (a, b))
        with one as first, other as second:
            return measure_pairs(scenario, {"A": a, "B": b}, {"A": first, "B": second}, self._progress)

    @contextmanager
    def _ready(self, scenario: Scenario) -> Iterator[Where]:
        """Hold the measuring lock, with collectors attached and signals turned into exceptions.

        What cannot be had is refused at once, before anybody is waited for. What the core sheds is back afterwards.
        Real machines have a lock each, and are connected for as long as this lasts.
        """

        def told(text: str) -> None:
            self._progress.stage(scenario, text, 0, scenario.repeat)

        if scenario.is_real:
            with stop_on_signals(), real_of(scenario, told, self.options) as where:
                yield where
            return
        if self._lacking is not None:
            raise self._lacking
        plan(scenario, emulators())
        with stop_on_signals(), measuring_lock(told):
            core = Core(self._attach(scenario), core_budget(scenario))
            try:
                yield Where(core=core, unavailable=self._unavailable, testbed=lab_of, join_late=self._join_late(core))
            finally:
                for name in core.shed_collectors:
                    self._attached.pop(name).close()

    @contextmanager
    def _bench(
        self, scenario: Scenario, where: Where, rules: RuleSet, prepare_lab: PrepareLab | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Bench]:  # fmt: skip
        """Build the scenario's lab, prove its links and set its hosts up; all of it is undone afterwards.

        Links are proved before the hosts' own settings: a device under test may shape, police and drop. `prepare_lab`
        has the last word on the hosts. `progress` is told instead of the session's own.
        """
        progress = progress or self._progress
        progress.stage(scenario, "building hosts and links", 0, scenario.repeat)
        with where.testbed(scenario) as lab:
            bench = Bench(scenario, lab, where.core, rules, progress, where.unavailable, self._events, self._series)
            bench.prove()
            lab.apply_settings()
            if prepare_lab is not None:
                prepare_lab(lab)
            where.join_late(scenario)
            yield bench

    def _rules(self) -> RuleSet:
        if self._loaded_rules is None:
            self._loaded_rules = load_rules(self.options.rule_dirs)
        return self._loaded_rules

    def _join_late(self, core: Core) -> Callable[[Scenario], None]:
        return lambda scenario: core.join(self._attached_late(scenario))

    def _attached_late(self, scenario: Scenario) -> list[Collector]:
        """Attach what could not be before, and give it: the lab may have had the kernel load modules that it needs."""
        if not loaded_modules() - self._modules:
            return []
        self._unavailable.clear()
        before = set(self._attached)
        return [one for one in self._attach(scenario) if one.name not in before]

    def _attach(self, scenario: Scenario) -> list[Collector]:
        """Return the collectors of the scenario's layers, attached as far as they were not yet."""
        self._modules = loaded_modules()
        layers, events = scenario.measure.layers, self._events is not None
        if scenario.measure.mode == "cost":
            raise Unavailable(
                "the cost of a kernel's path", "it is measured in guests of the kernel lab",
                "add --kernel NAME (`perfcheck kernel list` shows those of this machine)",
            )  # fmt: skip
        mode = scenario.measure.mode
        wanted = collectors(layers, mode, events=events)
        missing = [one for one in wanted if one.name not in self._attached and one.name not in self._unavailable]
        if missing:
            self._progress.stage(scenario, "attaching collectors", 0, scenario.repeat)
            prepare(layers, mode, events=events)
        for collector in missing:
            try:
                collector.check()
                collector.open()
            except Unavailable as lacking:
                self._unavailable[collector.name] = str(lacking)
                continue
            self._cleanup.callback(collector.close)
            self._attached[collector.name] = collector
        return [self._attached[one.name] for one in wanted if one.name in self._attached]

    def _store(self, name: str | None = None) -> BaselineStore:
        """Return the store of a named set, by default the one that the options name."""
        folder, ref = self.options.baseline_dir, self.options.baseline_ref
        if ref is not None:
            if self._at_ref is None:
                self._at_ref = baselines_at(ref, folder)
                # Also where no session is ever entered, as when pytest only collects.
                self._remove_at_ref = finalize(self, shutil.rmtree, self._at_ref, ignore_errors=True)
            folder = self._at_ref
        return BaselineStore(folder, self.options.baseline_name if name is None else name)
