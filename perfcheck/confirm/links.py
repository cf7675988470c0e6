"""One link with one of its impairments taken away or scaled, on the link itself and in both directions' blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from perfcheck.model.impairments import Change, Impairments, Jitter
from perfcheck.model.link import LinkSpec, link_problem
from perfcheck.model.quantities import Loss, Queue, QueueSize
from perfcheck.model.units import format_value

FIELDS: Final = {
    "loss": "loss", "corrupt": "corrupt_pct", "policer": "policer", "ecn": "ecn", "jitter": "jitter",
    "reorder": "reorder_pct", "queue": "queue", "rate": "rate_bps", "delay": "delay_ns",
}  # fmt: skip
"""The file's keys, and the names that their values have here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLink:
    """The link, what was changed (key, before, after), and why no link can be like that, or None."""

    link: LinkSpec
    changes: tuple[tuple[str, str, str], ...]
    problem: str | None


def changed_link(link: LinkSpec, key: str, times: float | None) -> ChangedLink:
    """Return the link without an impairment, or with it so many times as large."""
    changes: list[tuple[str, str, str]] = []
    update: dict[str, object] = _changed(link, key, times, "", changes)
    for name in ("forward", "reverse"):
        block: Impairments | None = getattr(link, name)
        if block is not None:
            update[name] = block.model_copy(update=_changed(block, key, times, f"{name}.", changes))
    copied = link.model_copy(update=update)
    return ChangedLink(link=copied, changes=tuple(changes), problem=link_problem(copied) if changes else None)


def _changed(
    block: Impairments, key: str, times: float | None, prefix: str, changes: list[tuple[str, str, str]]
) -> dict[str, object]:
    """Return the new values of one block, and note each that is another."""
    field = FIELDS[key]
    update: dict[str, object] = {}
    before = getattr(block, field)
    after = _new(before, times)
    if after != before and _text(before, key) != _text(after, key):
        update[field] = after
        changes.append((f"{prefix}{key}", _text(before, key), _text(after, key)))
    if key == "delay" and times is not None and block.jitter is not None:
        # The delay must stay longer than it varies.
        spread = block.jitter.model_copy(update={"spread_ns": round(block.jitter.spread_ns * times)})
        update["jitter"] = spread
        changes.append((f"{prefix}jitter", _text(block.jitter, key), _text(spread, key)))
    if block.schedule and field in Change.model_fields:
        steps = [_step(step, field, times) for step in block.schedule]
        if steps != list(block.schedule):
            update["schedule"] = tuple(step for step in steps if step.changed) or None
            changes.append((f"{prefix}schedule[].{key}", "changes", "none" if times is None else f"x {times:g}"))
    return update


def _step(step: Change, field: str, times: float | None) -> Change:
    return step.model_copy(update={field: _new(getattr(step, field), times)})


def _new(value: Any, times: float | None) -> Any:
    if value is None or times is None:
        return None
    if isinstance(value, Queue):
        return value.model_copy(update={"size": _scaled(value.size, times)})
    return round(value * times)


def _scaled(size: QueueSize, times: float) -> QueueSize:
    if size.packets is not None:
        return QueueSize(packets=max(round(size.packets * times), 1))
    if size.size_bytes is not None:
        return QueueSize(size_bytes=max(round(size.size_bytes * times), 1))
    assert size.bdp is not None  # noqa: S101 - the validator saw to it
    return QueueSize(bdp=size.bdp * times)


def _text(value: object, key: str) -> str:
    """Return a value as the file could have it; what changes nothing is `none`."""
    if not value:
        return "none"
    if isinstance(value, Queue):
        size = value.size
        if size.bdp is not None:
            return f"{size.bdp:g}bdp"
        return f"{size.packets}p" if size.packets is not None else format_value(float(size.size_bytes or 0), "bytes")
    if isinstance(value, Loss):
        return f"{value.mean_pct:g}%" if value.mean_pct else "none"
    if isinstance(value, Jitter):
        return format_value(value.spread_ns, "ns") if value.spread_ns else "none"
    if isinstance(value, bool):
        return "true"
    if isinstance(value, int | float):
        return format_value(value, {"rate": "bps", "delay": "ns"}.get(key, "pct"))
    return "set"
