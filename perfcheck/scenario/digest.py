"""The facts of a scenario that influence its measurement, and the two digests of these facts.

A fact is written as the file would write it, without defaults and zeros. So two ways to write the same thing have the
same digest, and a key that the schema gains later changes no digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel

from perfcheck.model.link import LinkDirection, LinkSpec
from perfcheck.model.own_metric import ReportSpec
from perfcheck.model.quantities import Loss
from perfcheck.model.scenario import HostSpec, Measure, Scenario, TrafficSpec
from perfcheck.scenario.notation import (
    duration_text,
    jitter_text,
    loss_text,
    number_text,
    percent_text,
    policer_text,
    queue_text,
    rate_text,
    schedule_text,
    size_text,
)

DIGITS: Final = 16
"""Hexadecimal digits of a digest: 64 bits, plenty for the scenarios of one project."""

Fact = tuple[str, str]


def digest(scenario: Scenario) -> str:
    """Return the digest of all that influences the measurement; the name, texts, thresholds and repeats do not."""
    return _digest({**_workload(scenario), **conditions(scenario)})


def workload_digest(scenario: Scenario) -> str:
    """Return the digest that baselines are keyed by: who sends what to whom, without what is under test."""
    return _digest({"scenario": scenario.name, **_workload(scenario)})


def conditions(scenario: Scenario) -> Mapping[str, str]:
    """Return what is under test: host settings, link impairments, what is measured and when, by path as in the file.

    It is exactly what `digest` covers and `workload_digest` does not.
    """
    facts: list[Fact] = []
    for name, host in scenario.hosts.items():
        facts += _host(f"hosts.{name}", host)
    for index, link in enumerate(scenario.links):
        facts += _link(f"links[{index}]", link)
    for index, traffic in enumerate(scenario.traffic):
        if traffic.command is not None and traffic.command.report is not None:
            facts += _report(f"traffic[{index}].command.report", traffic.command.report)
    facts += _measure(scenario.measure)
    # A baseline outlives a phase that is moved, and its failures tell of that.
    facts += [(f"phases.{name}", duration_text(begin_ns)) for name, begin_ns in scenario.phases_ns.items()]
    return MappingProxyType(dict(facts))


def _workload(scenario: Scenario) -> Mapping[str, str]:
    facts: list[Fact] = [
        (f"hosts.{name}", "real" if host.is_real else "router" if host.router else "host")
        for name, host in scenario.hosts.items()
    ]
    for name, host in scenario.hosts.items():
        if host.nat:
            facts.append((f"hosts.{name}.nat", " ".join(sorted(host.nat))))
        facts += [(f"hosts.{name}.via.{target}", via) for target, via in host.via.items()]
    for index, link in enumerate(scenario.links):
        facts.append((f"links[{index}].between", " ".join(link.between)))
        facts.append((f"links[{index}].mtu", str(link.mtu)))
    for index, traffic in enumerate(scenario.traffic):
        facts += _traffic(f"traffic[{index}]", traffic)
    if scenario.warmup_ns:
        facts.append(("warmup", duration_text(scenario.warmup_ns)))
    facts += [(f"matrix.{key}", value) for key, value in scenario.point]
    return dict(facts)


def _digest(facts: Mapping[str, str]) -> str:
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _host(path: str, host: HostSpec) -> Iterator[Fact]:
    for key, value in host.sysctl.items():
        yield f"{path}.sysctl.{key}", " ".join(str(value).split())
    for index, command in enumerate(host.setup):
        yield f"{path}.setup[{index}]", command
    for index, setting in enumerate(host.settings):
        yield f"{path}.settings[{index}]", " ".join(setting.split())
    if host.congestion is not None:
        yield f"{path}.congestion", host.congestion
    if host.cpus is not None:
        yield f"{path}.cpus", ",".join(str(cpu) for cpu in sorted(set(host.cpus)))


def _link(path: str, link: LinkSpec) -> Iterator[Fact]:
    """Return a link's impairments: once where both directions agree, else under `forward` and `reverse`."""
    forward, reverse = (dict(_impairments(direction)) for direction in link.directions)
    for key in dict.fromkeys((*forward, *reverse)):
        if forward.get(key) == reverse.get(key):
            yield f"{path}.{key}", forward[key]
            continue
        for name, facts in (("forward", forward), ("reverse", reverse)):
            if key in facts:
                yield f"{path}.{name}.{key}", facts[key]
    if _is_random(link):
        yield f"{path}.seed", str(link.seed)
    if link.emulator != "auto":
        yield f"{path}.emulator", link.emulator


def _impairments(direction: LinkDirection) -> Iterator[Fact]:
    if direction.delay_ns:
        yield "delay", duration_text(direction.delay_ns)
    if direction.jitter is not None and direction.jitter_ns:
        yield "jitter", jitter_text(direction.jitter)
    if direction.rate_bps:
        yield "rate", rate_text(direction.rate_bps)
    if direction.queue is not None:
        yield "queue", queue_text(direction.queue)
    if direction.policer is not None:
        yield "policer", policer_text(direction.policer)
    if direction.loss is not None and direction.loss != Loss():
        yield "loss", loss_text(direction.loss)
    for name, value_pct in (
        ("reorder", direction.reorder_pct),
        ("duplicate", direction.duplicate_pct),
        ("corrupt", direction.corrupt_pct),
    ):
        if value_pct:
            yield name, percent_text(value_pct)
    if direction.ecn:
        yield "ecn", "true"
    if direction.trace is not None:
        # Another content is another link, whatever the file is called.
        yield "trace", f"{direction.trace.name} {direction.trace.sha256[:DIGITS]}".strip()
    if direction.schedule:
        yield "schedule", schedule_text(direction.schedule)


def _is_random(link: LinkSpec) -> bool:
    """Whether the seed decides anything."""
    return any(_draws(direction) for direction in link.directions)


def _draws(direction: LinkDirection) -> bool:
    losses = (direction.loss, *(change.loss for change in direction.schedule))
    others = (direction.jitter_ns, direction.reorder_pct, direction.duplicate_pct, direction.corrupt_pct)
    return any(loss is not None and loss.mean_pct for loss in losses) or any(others)


def _traffic(path: str, traffic: TrafficSpec) -> Iterator[Fact]:
    yield from _fields(f"{path}.{traffic.generator}", traffic.spec)


def _report(path: str, report: ReportSpec) -> Iterator[Fact]:
    """Return where a command's own figures come from: another place is another figure, but the same workload."""
    yield f"{path}.format", report.format
    for name, metric in report.metrics.items():
        row = "" if metric.row is None else f" row={metric.row}"
        yield f"{path}.metrics.{name}", f"{metric.at}{row} unit={metric.unit} take={metric.take}"


def _fields(path: str, model: BaseModel) -> Iterator[Fact]:
    """Return a model's fields that are not at their default, under the file's keys and in its units."""
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if (not info.is_required() and value == info.default) or isinstance(value, ReportSpec):
            continue
        key = f"{path}.{info.alias or name}"
        if isinstance(value, BaseModel):
            yield from _fields(key, value)
        else:
            yield key, _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        writers = {"_ns": duration_text, "_bps": rate_text, "_bytes": size_text}
        writer = next((found for suffix, found in writers.items() if name.endswith(suffix)), str)
        return writer(value)
    if isinstance(value, bool):
        return str(value).lower()
    return number_text(value) if isinstance(value, float) else str(value)


def _measure(measure: Measure) -> Iterator[Fact]:
    if measure.layers != "all":
        yield "measure.layers", ",".join(sorted(set(measure.layers)))
    if measure.mode != "summary":
        yield "measure.mode", measure.mode
    if measure.budget_pct is not None:
        yield "measure.budget", f"{number_text(measure.budget_pct)}%"
    if measure.filter is not None:
        yield from _fields("measure.filter", measure.filter)
