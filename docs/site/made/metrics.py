"""The page of all metrics, made from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from made.markdown import anchor_of, code, heading, literal, page, prose, table
from perfcheck.model.catalogue import CATALOGUE
from perfcheck.model.metric import Direction, Layer, MetricSpec
from perfcheck.model.subject import SubjectKind

_INTRO: Final = """\
After this page you know what each metric means, which way it gets better, and where it comes from.

    perfcheck metrics rtt          # those with this text in their name, and whether this machine has them

A name is `layer.quantity_unit.stat`. A metric of one traffic entry, host or link is written `METRIC@SUBJECT`, a metric
of a phase `METRIC/PHASE`: [the scenario file](../scenario-file.md).

**Margin** is the smallest change that counts as one, as a share of the baseline. Where there is an absolute amount too,
smaller changes do not count either. **Compared** metrics are compared with a baseline without being asked for; others
are where `expect` or `tolerance` names them. What each layer was checked against:
[known workloads](../known-workloads.md)."""
_BETTER: Final = {
    Direction.LOWER: "lower is better",
    Direction.HIGHER: "higher is better",
    Direction.NEITHER: "neither way is better",
}
_LAYERS: Final = {
    Layer.APP: "Application", Layer.SOCKET: "Sockets", Layer.TCP: "TCP", Layer.UDP: "UDP", Layer.IP: "IP",
    Layer.QDISC: "Queues (qdisc)", Layer.NIC: "Interfaces and softirqs (nic)", Layer.CPU: "CPUs",
}  # fmt: skip
_SUBJECTS: Final = {
    SubjectKind.TRAFFIC: "traffic entries", SubjectKind.HOST: "hosts", SubjectKind.DIRECTION: "directions of links",
}  # fmt: skip


def metrics_page() -> str:
    """Return the page."""
    return page(f"All {len(CATALOGUE)} metrics", _INTRO, *(block for layer in Layer for block in _of_layer(layer)))


def _of_layer(layer: Layer) -> Iterator[str]:
    specs = [spec for spec in CATALOGUE.values() if spec.layer is layer]
    yield heading(2, f"{_LAYERS[layer]}: {len(specs)} metrics", layer.value)
    yield table(("metric", "meaning", "margin", "source"), (_row(spec) for spec in specs))


def _row(spec: MetricSpec) -> tuple[str, str, str, str]:
    name = f'<span id="{anchor_of(spec.name)}">{code(spec.name)}</span>'
    meaning = [prose(spec.meaning)]
    if spec.computed:
        meaning.append(prose(spec.computed))
    about = [f"unit {literal(spec.unit)}", _BETTER[spec.direction]]
    if spec.subjects:
        about.append(f"also of {literal(' and '.join(_SUBJECTS[kind] for kind in spec.subjects))}")
    if spec.host_wide:
        about.append("of the whole machine")
    meaning.append(f"<small>{'; '.join(about)}</small>")
    return name, "<br>".join(meaning), _margin(spec), f"{prose(spec.source)}<br><small>{_needs(spec)}</small>"


def _needs(spec: MetricSpec) -> str:
    return f"needs {literal(', '.join(spec.needs))}"


def _margin(spec: MetricSpec) -> str:
    parts = [f"{spec.margin_pct:g} &#37;"]
    if spec.floor:
        parts.append(f"{spec.floor:g} {literal(spec.unit)}")
    return "<br>".join((*parts, *(["compared"] if spec.compared else [])))
