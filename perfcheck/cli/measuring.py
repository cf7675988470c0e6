"""Measures one scenario after the other; each leaves a record whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

from perfcheck.errors import CouldNotMeasure, PerfcheckError, RuleError, Stopped, UsageError
from perfcheck.model.record import RunRecord
from perfcheck.model.scenario import Scenario
from perfcheck.model.verdict import Verdict, exit_status
from perfcheck.output import ConsoleProgress, Outputs
from perfcheck.runner import Runner
from perfcheck.runner.keeping import Keep, Keeper, kept
from perfcheck.runner.unmeasured import interrupted_by, now, reason_of
from perfcheck.system.defects import defect_line
from perfcheck.system.printing import complain

T = TypeVar("T")

NOT_BEGUN: Final = "not measured: the run was interrupted before this scenario began"


def _refused(runner: Runner, stack: ExitStack) -> CouldNotMeasure | None:
    """Begin the runner's session on the stack; return why nothing can be measured here, such as missing privileges."""
    try:
        stack.enter_context(runner)
    except CouldNotMeasure as error:
        return error
    return None


@contextmanager
def begun(runner: Runner, progress: ConsoleProgress, *outputs: Outputs) -> Iterator[CouldNotMeasure | None]:
    """Begin the outputs, the runner's session and the progress; yield why nothing can be measured here, if so.

    The outputs end after the session, with which the time series are complete.
    """
    with ExitStack() as stack:
        for each in outputs:
            opened(each, stack)
        refusal = _refused(runner, stack)
        stack.enter_context(progress)
        yield refusal


def opened(outputs: Outputs, stack: ExitStack) -> None:
    """Open the outputs, to be closed with the stack; what could not be written is then told on standard error."""
    outputs.open()
    stack.callback(_tell, outputs)
    stack.callback(outputs.close)


def _tell(outputs: Outputs) -> None:
    for problem in outputs.problems:
        complain(f"perfcheck: {problem}")


def recorded(
    scenarios: Sequence[Scenario], measure: Callable[[Scenario], T], unmeasured: Callable[[Scenario, str, str], T],
    *, refusal: CouldNotMeasure | None, wrong: list[PerfcheckError],
) -> Iterator[T]:  # fmt: skip
    """Yield what was measured of each scenario, or what `unmeasured` makes of it, a reason and the time of its begin.

    With a `refusal` nothing is measured. An interruption is raised again once the interrupted scenario and all
    after it have their records. Bad usage that shows at the first scenario is raised at once. A wrong file, such as
    a baseline, costs only the scenarios that need it, and is added to `wrong`. A defect of perfcheck costs its
    scenario, and is raised at the end.
    """
    defect: Exception | None = None
    for number, scenario in enumerate(scenarios):
        started_at = now()
        if refusal is not None:
            yield unmeasured(scenario, str(refusal), started_at)
            continue
        try:
            found = measure(scenario)
        except (KeyboardInterrupt, Stopped, BrokenPipeError) as stop:
            yield unmeasured(scenario, interrupted_by(stop), started_at)
            for other in scenarios[number + 1 :]:
                yield unmeasured(other, NOT_BEGUN, now())
            raise
        except PerfcheckError as error:
            if number == 0 and isinstance(error, RuleError | UsageError):
                raise
            if not isinstance(error, CouldNotMeasure):
                wrong.append(error)
            yield unmeasured(scenario, reason_of(error), started_at)
        except Exception as error:  # noqa: BLE001 - the other scenarios are measured nevertheless
            defect = defect or error
            yield unmeasured(scenario, defect_line(error), started_at)
        else:
            yield found
    if defect is not None:
        raise defect


def stored(
    keeper: Keeper, scenario: Scenario, record: RunRecord, keep: Keep, *, unwritten: Sequence[str],
    wrong: list[PerfcheckError],
) -> str:  # fmt: skip
    """Store a run as a baseline unless its record could not be written; return what came of it."""
    if unwritten:
        return f"not written, because the run was not kept: {unwritten[0]}"
    try:
        return kept(keeper, scenario, record, keep)
    except PerfcheckError as error:
        wrong.append(error)
        return f"not written: {error}"


def final_status(verdicts: Iterable[Verdict], wrong: Sequence[PerfcheckError], unwritten: Sequence[str]) -> int:
    """Return the exit status: 1 a failure or regression, else 2 a wrong file, else 3 not measured or not written."""
    status = exit_status(verdicts)
    if status == 1:
        return status
    if wrong:
        return wrong[0].exit_status
    return 3 if unwritten else status
