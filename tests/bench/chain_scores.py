"""Compares the chains of measured runs with the order that was injected (fault_chains.yaml); pure."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import yaml

from perfcheck.diagnose import RuleSet, diagnose, sightings, with_chains
from perfcheck.diagnose.correlation import name_of
from perfcheck.diagnose.evaluation import Reading
from perfcheck.model.event import Event, EventType
from perfcheck.model.flow import FlowKey, Protocol
from perfcheck.model.metric import Layer
from perfcheck.model.record import DiagnosisRecord

Row = Mapping[str, Any]

ORDERS: Final = Path(__file__).with_name("fault_chains.yaml")
_CONTEXT: Final = ("kind", "host", "seq", "bytes", "state", "retransmission", "change", "reason", "subject", "method")
SYMPTOMS: Final = {
    "low_throughput": "low throughput", "steady_latency": "long round trips", "tail_latency": "uneven round trips",
    "slow_connect": "slow connect",
}  # fmt: skip
"""Symptoms as a diagnosis names them where nothing between them and the cause was seen, by the graph's names."""
BACKGROUND_NS: Final = 1_500_000_000
SERIES_INTERVAL_NS: Final = 100_000_000
MOST_LAG_MS: Final = 10_000
_STEP: Final = re.compile(r"(?P<label>[a-z_ ]+?)(?: \((?P<said>[^)]*)\))?")
_LAG: Final = re.compile(r"(?:\+|within )(?P<number>-?[\d.e+]+) (?P<unit>ms|s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What was injected: of each cause the rank of each state that may follow, and the faults that begin later."""

    orders: Mapping[str, Mapping[str, int]]
    late: tuple[Mapping[str, Any], ...]
    late_seconds: int
    onset_s: int


def injected_orders(path: Path = ORDERS) -> Injected:
    """Read the order of each cause, and the faults that begin later."""
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    orders = {
        cause: {state: rank for rank, states in enumerate(ranks) for state in states}
        for cause, ranks in told["orders"].items()
    }
    late = told["late"]
    return Injected(
        orders=orders, late=tuple(late["faults"]), late_seconds=int(late["seconds"]), onset_s=int(late["onset"])
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; none where there is no file."""
    if not path.exists():
        return []
    text = lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def from_campaign(row: Row) -> dict[str, Any] | None:
    """Return a run of campaign-faults as one of this campaign: with its first alerts, without series.

    None where its alerts were not kept.
    """
    alerts = row.get("alerts", {})
    if not row["valid"] or not alerts.get("first"):
        return None
    began_ns = int(row["trials"][0]["began_ns"])
    return {**row, "began_ns": began_ns, "onset_ns": None, "interval_ns": 0, "told": ["events"],
            "alerts": [compact(each, began_ns) for each in alerts["first"]]}  # fmt: skip


def compact(alert: Row, began_ns: int) -> dict[str, Any]:
    """Return what the diagnosis uses of an alert as events.jsonl tells it; times from the traffic's begin."""
    flow, context = alert["flow"], alert["context"]
    kept = {name: context[name] for name in _CONTEXT if name in context}
    ends = flow and [flow[key] for key in ("protocol", "src_ip", "src_port", "dst_ip", "dst_port")]
    return {
        "n": alert["number"], "t": alert["timestamp_ns"] - began_ns, "f": ends, "m": alert["metric"],
        "v": alert["value"], "r": alert["metrics"].get("tcp.srtt_us"), "c": kept,
    }  # fmt: skip


def event_of(kept: Row) -> Event:
    """Return the event that `compact` was made of, with times from the traffic's begin."""
    ends, context = kept["f"], kept["c"]
    flow = ends and FlowKey(
        protocol=Protocol(ends[0]), host=context.get("host", ""), local=ends[1], local_port=ends[2], remote=ends[3],
        remote_port=ends[4],
    )  # fmt: skip
    return Event(
        number=kept["n"], timestamp_ns=kept["t"], flow=flow or None, layer=Layer(kept["m"].partition(".")[0]),
        metric=kept["m"], value=kept["v"], type=EventType.ALERT, context=context,
        metrics={} if kept["r"] is None else {"tcp.srtt_us": kept["r"]},
    )  # fmt: skip


def judged(row: Row, rules: RuleSet) -> dict[str, Any]:
    """Return the row with the diagnosis and the chains that today's rules make of what was measured.

    `injected_chain` is the chain of the injected cause, whatever the diagnosis named. `before` and `fault` are the same
    of the two phases of a fault that begins later; None of others. The events before the begin are the background of
    what came after, and are seen there, too.
    """
    if not row["valid"]:
        return {**row, "diagnosis": [], "injected_chain": [], "before": None, "fault": None, "onsets_ns": {}}
    trials = [trial["metrics"] for trial in row["trials"] if trial.get("valid", True)]
    events = [event_of(each) for each in row["alerts"]]
    seen = sightings(rules.causality, events, row["told"], row["interval_ns"])
    reading = Reading(metrics=row["metrics"], trials=tuple(trials))
    diagnosis = with_chains(diagnose(rules, reading.metrics, trials), rules.causality, reading, seen)
    cause = DiagnosisRecord(cause=row["causes"][0], confidence=1.0)
    own = with_chains((cause,), rules.causality, reading, seen)[0]
    result = {**row, "diagnosis": [each.model_dump(mode="json") for each in diagnosis],
              "injected_chain": list(own.chain), "before": None, "fault": None, "onsets_ns": {}}  # fmt: skip
    if row["onset_ns"] is not None:
        earlier = [each for each in events if each.timestamp_ns < row["onset_ns"]]
        for phase, part in (("before", earlier), ("fault", events)):
            metrics = row["trials"][0]["phases"][phase]["metrics"]
            seen = sightings(rules.causality, part, row["told"], row["interval_ns"])
            reading = Reading(metrics=metrics, trials=(metrics,))
            named = with_chains(diagnose(rules, metrics, [metrics]), rules.causality, reading, seen)
            own = with_chains((cause,), rules.causality, reading, seen)[0]
            result["onsets_ns"] = _onsets(events, rules, row["onset_ns"])
            result[phase] = {"diagnosis": [each.model_dump(mode="json") for each in named],
                             "injected_chain": list(own.chain)}  # fmt: skip
    return result


def _onsets(events: Sequence[Event], rules: RuleSet, begin_ns: int) -> dict[str, int]:
    """Return when each state was first seen after a moment; the state of a cause by the cause's name, too.

    A state that was seen in the BACKGROUND_NS before it has no first sighting.
    """
    found: dict[str, int] = {}
    for event in events:
        for state in rules.causality.states.values() if event.timestamp_ns >= begin_ns - BACKGROUND_NS else ():
            if state.is_told_by(name_of(event)):
                for name in {state.name, state.cause or state.name}:
                    found[name] = min(found.get(name, event.timestamp_ns), event.timestamp_ns)
    return {name: at_ns for name, at_ns in found.items() if at_ns >= begin_ns}


def stripped(row: Row) -> dict[str, Any]:
    """Return a judged row without its events and metrics."""
    kept = ("name", "causes", "injector", "path", "load", "severity", "valid", "problem", "measured_at")
    phases = {phase: row[phase] and _chains_of(row[phase]) for phase in ("before", "fault")}
    return {**{key: row[key] for key in kept}, **_chains_of(row), **phases, "onsets_ns": row["onsets_ns"]}


def _chains_of(judgement: Row) -> dict[str, Any]:
    kept = ("cause", "confidence", "chain", "fix_first", "chain_rests_on")
    named = [{key: each[key] for key in kept} for each in judgement["diagnosis"]]
    return {"diagnosis": named, "injected_chain": judgement["injected_chain"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a chain compares with what was injected.

    `named` is the first cause of the diagnosis, `chain` the steps of its chain. `wrong` are pairs of states in the
    wrong order, states that do not follow from the injected cause, and lags that are none.
    """

    cause: str
    named: str
    chain: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    pairs: int = 0

    @property
    def shown(self) -> bool:
        return bool(self.chain)

    @property
    def root_right(self) -> bool:
        return self.shown and label_of(self.chain[0]) == self.cause

    @property
    def order_right(self) -> bool:
        return self.shown and not self.wrong

    @property
    def text(self) -> str:
        """The chain, with what is wrong."""
        said = "" if self.named == self.cause else f"(named {self.named}) "
        wrong = f"   WRONG: {'; '.join(self.wrong)}" if self.wrong else ""
        return f"{said}{' -> '.join(self.chain) or '-'}{wrong}"


def scored(judgement: Row, cause: str, known: Injected) -> Score:
    """Return how the chain of the first cause compares with the order of the injected one."""
    first: Row = judgement["diagnosis"][0] if judgement["diagnosis"] else {"cause": "none", "chain": ()}
    return _score(cause, first["cause"], first["chain"], known)


def own_scored(judgement: Row, cause: str, known: Injected) -> Score:
    """Return the same of the chain of the injected cause, as if it had been named."""
    return _score(cause, cause, judgement["injected_chain"], known)


def _score(cause: str, named: str, steps: Sequence[str], known: Injected) -> Score:
    labels, order = [label_of(step) for step in steps], known.orders[cause]
    inside = [label for label in labels if label in order]
    wrong = [f"{label} is no effect" for label in labels if label not in order]
    wrong += [f"{one} before {other}" for one, other in combinations(inside, 2) if order[one] > order[other]]
    wrong += [f"lag of {step}" for step in steps if (lag := lag_ms(step)) is not None and not 0 <= lag <= MOST_LAG_MS]
    return Score(
        cause=cause, named=named, chain=tuple(steps), wrong=tuple(wrong), pairs=len(labels) * (len(labels) - 1) // 2
    )


def label_of(step: str) -> str:
    """Return the state that a step of a chain names: `cwnd cut` of `cwnd cut (+5.0 ms)`; also a symptom's name."""
    found = _STEP.fullmatch(step)
    if found is None:
        raise ValueError(f"{step!r} is no step of a chain")
    return SYMPTOMS.get(found["label"], found["label"])


def lag_ms(step: str) -> float | None:
    """Return the lag that a step tells, None where it tells none."""
    found = _LAG.search(step)
    return None if found is None else float(found["number"]) * (1000 if found["unit"] == "s" else 1)


def told(row: Row, known: Injected) -> Iterator[str]:
    """Yield what a judged run shows, a line each of the run, and of the time before and after a later begin."""
    if not row["valid"]:
        yield f"{row['name']}: not valid: {row['problem']}"
        return
    cause = row["causes"][0]
    for view in ("", "before", "fault"):
        judgement = row[view] if view else row
        if judgement is not None:
            yield f"{view or row['name']:78} {scored(judgement, cause, known).text}"
            own = own_scored(judgement, cause, known)
            if own.chain != scored(judgement, cause, known).chain and view != "before":
                yield f"{'its own chain':>78} {own.text}"


def pairs_in_time(row: Row) -> tuple[int, int]:
    """Return of how many pairs of the chain after a later begin the first state was seen first, and of how many pairs.

    This asks no graph: the times are those of the first event or change of series after the begin. What a series shows
    is known to an interval.
    """
    onsets = row["onsets_ns"]
    times = [onsets[label] for step in row["fault"]["injected_chain"] if (label := label_of(step)) in onsets]
    pairs = list(combinations(times, 2))
    return sum(one <= other + SERIES_INTERVAL_NS for one, other in pairs), len(pairs)


HEAD: Final = (
    "| cause | runs | named first | chain shown | root right | order agrees | own chain | root right | order agrees "
    "| begun later | no chain before | chain after | order agrees | pairs in the order of time |"
)


def markdown(rows: Sequence[Row], known: Injected) -> Iterator[str]:
    """Yield the lines of a table: of each cause the runs, those with a chain, and how many of these are right."""
    yield HEAD
    yield "|---|" + "---:|" * (HEAD.count("|") - 2)
    valid = [row for row in rows if row["valid"]]
    for cause in known.orders:
        yield _line(cause, [row for row in valid if row["causes"] == [cause]], known)
    yield _line("all", valid, known)


def _line(title: str, rows: Sequence[Row], known: Injected) -> str:
    def counted(scores: Iterable[Score]) -> tuple[int, int, int]:
        shown = [each for each in scores if each.shown]
        return len(shown), sum(each.root_right for each in shown), sum(each.order_right for each in shown)

    named = [each for row in rows if (each := scored(row, row["causes"][0], known)).named == each.cause]
    later = [row for row in rows if row["fault"] is not None]
    before = [scored(row["before"], row["causes"][0], known) for row in later]
    timed = [pairs_in_time(row) for row in later]
    after_shown, _, after_right = counted(own_scored(row["fault"], row["causes"][0], known) for row in later)
    cells = (
        len(rows), len(named), *counted(named), *counted(own_scored(row, row["causes"][0], known) for row in rows),
        len(later), sum(not each.shown for each in before), after_shown, after_right,
        f"{sum(agrees for agrees, _ in timed)} of {sum(pairs for _, pairs in timed)}",
    )  # fmt: skip
    return f"| {title} | {' | '.join(map(str, cells))} |"
