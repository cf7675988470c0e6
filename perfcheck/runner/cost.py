"""Measures the cost of a scenario's loads in guests: each boot is one trial."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from perfcheck.analyse import aggregate, aggregate_subjects
from perfcheck.compare import decided_by
from perfcheck.kernels.bzimage import KernelImage
from perfcheck.kernels.guest import GuestOptions, boot
from perfcheck.kernels.image import small_image
from perfcheck.kernels.profile import Profile
from perfcheck.kernels.profiling import kept_kallsyms, profiled_boot
from perfcheck.kernels.store import Kernel
from perfcheck.lab.topology import Topology
from perfcheck.model.catalogue_of import catalogue_of
from perfcheck.model.record import DiagnosisRecord, MetricRecord, RunRecord, SubjectRecord, TrialRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Progress
from perfcheck.model.subject import SubjectKind
from perfcheck.model.traffic import entry_names
from perfcheck.model.verdict import Verdict
from perfcheck.runner.bench import judged
from perfcheck.runner.cost_load import costs_of, load_steps, metrics_of
from perfcheck.runner.guest_lab import lab_steps, lay_out_in_guest, programs_of
from perfcheck.runner.summary import expectation_records, reference_to, reproduce, with_kernel
from perfcheck.runner.trial import Trial
from perfcheck.runner.unmeasured import now
from perfcheck.system import fingerprint

T = TypeVar("T")

AT_ONCE: Final = 2
"""Guests side by side: their time does not depend on how busy the host is."""
NOT_DIAGNOSED: Final = DiagnosisRecord(
    cause="unknown", confidence=0.0,
    evidence_against=("cost is measured with no collector attached; run the scenario with mode summary for causes",),
)  # fmt: skip
SPEAKS_OF: Final = (
    "instructions on one CPU, counted: the length of the path through the code; caches, locks, memory bandwidth and "
    "several CPUs are not seen"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestKernel:
    """What a side of a comparison boots: a kernel, with words that join its command line."""

    kernel: Kernel
    command_line: tuple[str, ...] = ()


class CostBench:
    """One scenario on one kernel; trials are boots, and each has a layout of its own."""

    def __init__(
        self, scenario: Scenario, guest: GuestKernel, progress: Progress, options: GuestOptions | None = None
    ) -> None:
        """Plan the job and make the image; LabError for a scenario that cannot be measured so."""
        self._scenario = scenario
        self._guest = guest
        self._progress = progress
        self._options = options or GuestOptions()
        self._topology: Topology = lay_out_in_guest(scenario)
        self._lab_steps = lab_steps(self._topology)
        self._load_steps = load_steps(scenario, self._topology)
        self._image = small_image(guest.kernel, programs_of(scenario))
        self._run_id = uuid.uuid4().hex
        self._started_at = now()
        self._trials: list[TrialRecord] = []

    @property
    def trials(self) -> tuple[Trial, ...]:
        """None: a boot gives what it cost, and nothing else was seen of it."""
        return ()

    def go_on(self, record: RunRecord, trials: Sequence[Trial]) -> None:
        """Go on with a run that was summed up before."""
        del trials
        self._run_id, self._started_at = record.run_id, record.started_at
        self._trials = [*record.trials, *self._trials]

    def keep(self, trial: TrialRecord) -> None:
        """Add a trial that `measured` has made."""
        self._trials.append(trial)

    def measure(self, runs: int, why: str = "") -> None:
        """Make this many trials, two guests at a time."""
        first = len(self._trials)
        self._progress.stage(self._scenario, f"{why}: booting" if why else "booting", 0, runs)
        for done in range(0, runs, AT_ONCE):
            indices = range(first + done, first + min(done + AT_ONCE, runs))
            self._trials += at_once([partial(self.measured, index) for index in indices])
            self._progress.stage(self._scenario, why or "boots", min(done + AT_ONCE, runs), runs)

    def measured(self, index: int, stopping: Callable[[], bool] = lambda: False) -> TrialRecord:
        """Boot with the layout of this index and return the trial; callable from any thread."""
        steps, options = (*self._lab_steps, *self._load_steps), self._options_of(index)
        run = boot(self._guest.kernel, self._image, steps, options, None, stopping)
        costs = costs_of(self._scenario, run.report.steps[len(self._lab_steps) :])
        return TrialRecord(
            index=index, metrics=metrics_of(costs), traffic_s=run.wall_s,
            subjects={name: metrics_of({name: cost}) for name, cost in costs.items()},
        )  # fmt: skip

    def profiled(self, layout: int, stopping: Callable[[], bool] = lambda: False) -> dict[str, Profile]:
        """Boot with the counting plugin and return the profile of each load in full, by its entry's name."""
        kernel, options = self._guest.kernel, self._options_of(layout)
        kallsyms = kept_kallsyms(kernel.folder, lambda: KernelImage.read(kernel.image).vmlinux())
        steps = (*self._lab_steps, *self._load_steps)
        _, phases = profiled_boot(kernel, self._image, steps, options, kallsyms, stopping)
        names = entry_names(self._scenario.traffic)
        # Each load marks two phases: to warm up, and in full.
        return dict(zip(names, phases[1::2], strict=True))

    def summary(self) -> RunRecord:
        """Return the record of all trials so far, its `expect` lines judged."""
        scenario, known = self._scenario, catalogue_of(self._scenario)
        record = RunRecord(
            schema_version=1, run_id=self._run_id, scenario=reference_to(scenario), started_at=self._started_at,
            environment=self._environment(), emulators={}, trials=tuple(self._trials),
            metrics=self._decided(aggregate(self._trials, known)),
            subjects={
                name: SubjectRecord(kind=SubjectKind.TRAFFIC, metrics=self._decided(metrics))
                for name, metrics in aggregate_subjects(self._trials, known).items()
            },
            diagnosis=(NOT_DIAGNOSED,), verdict=Verdict.PASS, warnings=(SPEAKS_OF,),
            reproduce=with_kernel(reproduce(scenario), self._guest.kernel.name),
        )  # fmt: skip
        return judged(record, expectations=tuple(expectation_records(scenario, record)))

    def _options_of(self, layout: int) -> GuestOptions:
        command_line = (*self._options.command_line, *self._guest.command_line)
        return replace(self._options, layout=layout, command_line=command_line)

    def _decided(self, metrics: Mapping[str, MetricRecord]) -> dict[str, MetricRecord]:
        known = catalogue_of(self._scenario)
        return {
            name: metric.model_copy(update={"decided_by": decided_by(known[name], self._scenario).value})
            for name, metric in metrics.items()
        }

    def _environment(self) -> dict[str, str]:
        """Describe the guest; of the host only what made and ran it."""
        host = fingerprint()
        kept = {name: value for name, value in host.items() if name in ("perfcheck", "arch", "tool.iperf3", "tool.ip")}
        return kept | {
            "guest.time": self._options.time, "kernel": self._guest.kernel.release,
            "kernel.name": self._guest.kernel.name, "kernel.command_line": " ".join(self._guest.command_line),
        }  # fmt: skip


class SideBySideBenches:
    """Two benches of which each pair of trials is made at once, with the same layout."""

    def __init__(self, benches: Mapping[str, CostBench]) -> None:
        """Take the benches of both sides."""
        self._benches = benches
        self._ready: dict[str, list[TrialRecord]] = {name: [] for name in benches}
        self._made = 0

    def sides(self) -> dict[str, Side]:
        """Return a bench for each side: a trial of either one is made with the other's."""
        return {name: Side(self, name) for name in self._benches}

    def trial(self, name: str) -> None:
        """Add the side's next trial to its bench."""
        if not self._ready[name]:
            made = at_once([partial(bench.measured, self._made) for bench in self._benches.values()])
            self._made += 1
            for side, trial in zip(self._benches, made, strict=True):
                self._ready[side].append(trial)
        self._benches[name].keep(self._ready[name].pop(0))

    def summary(self, name: str) -> RunRecord:
        """Return the side's record so far."""
        return self._benches[name].summary()


@dataclass(frozen=True, slots=True)
class Side:
    """One side of two benches, as `measure_pairs` wants it."""

    both: SideBySideBenches
    name: str

    def trial(self) -> bool:
        """Make one trial; a guest that dies raises."""
        self.both.trial(self.name)
        return True

    def summary(self) -> RunRecord:
        """Return the record of all trials so far."""
        return self.both.summary(self.name)


def at_once(measurements: Sequence[Callable[[Callable[[], bool]], T]]) -> tuple[T, ...]:
    """Return what these give, two at a time; where one fails or a signal comes the others are stopped."""
    stopping = threading.Event()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        waiting = [pool.submit(measure, stopping.is_set) for measure in measurements]
        try:
            done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
            for each in done:
                each.result()
            return tuple(each.result() for each in waiting)
        except BaseException:
            stopping.set()
            for each in waiting:
                each.cancel()
            raise
