"""Makes scenario documents: a path with a load is the healthy twin, changed by an injection it is the fault."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from perfcheck.faults.document import Changes, Figure, LoadSpec, PathSpec
from perfcheck.faults.template import filled
from perfcheck.model.units import format_value

SECONDS: Final = 4
"""Time of the traffic of each run, the warm-up included."""
LOAD: Final = "load"
"""Name of the traffic entry that a load is."""
PROGRAMS: Final = Path(__file__).parent / "programs"
LEAST_QUEUE_BYTES: Final = 8 * 1514
_RATE_WHERE_NONE_BPS: Final = 1_000_000_000

Document = dict[str, Any]


def parameters(path: PathSpec, load: LoadSpec, seconds: int = SECONDS) -> dict[str, Figure]:
    """Return what texts may name in braces for a path and a load; without a rate, a calculation takes 1 Gbit/s."""
    rate_bps = path.rate_bps or _RATE_WHERE_NONE_BPS
    rtt_ms = path.rtt_ns / 1e6
    bdp_bytes = max(round(rate_bps * path.rtt_ns / 8e9), 1)
    towards, back = ("eth0", "eth1") if load.reverse else ("eth1", "eth0")
    return {
        "rate_bps": rate_bps, "rtt_ms": rtt_ms, "bdp_bytes": bdp_bytes, "bdp_segs": bdp_bytes / 1448,
        "queue_bytes": _queue_bytes(path) or bdp_bytes, "seconds": seconds, "family": path.family,
        "out": towards, "in": back, "sender": "server" if load.reverse else "client",
        "receiver": "client" if load.reverse else "server", "python": sys.executable, "programs": str(PROGRAMS),
        "run": f"{sys.executable} -I -S {PROGRAMS}",
    }  # fmt: skip


def _queue_bytes(path: PathSpec) -> int | None:
    if path.rate_bps is None or path.queue_bdp is None:
        return None
    return max(round(path.queue_bdp * path.rate_bps * path.rtt_ns / 8e9), LEAST_QUEUE_BYTES)


def healthy(path: PathSpec, load: LoadSpec, name: str, seconds: int = SECONDS) -> Document:
    """Return the scenario of a path and a load, in which nothing is wrong; its traffic lasts for `seconds`."""
    values = parameters(path, load, seconds)
    own: dict[str, Any] = {} if load.congestion is None else {"congestion": load.congestion}
    if path.cpus is not None:
        own["cpus"] = list(path.cpus)
    hosts: dict[str, dict[str, Any]] = {"client": dict(own)}
    if path.router:
        hosts["router"] = {"router": True} | ({"nat": ["server"]} if path.nat else {})
    hosts["server"] = dict(own)
    ((generator, given),) = load.entry.items()
    entry = filled(given, values)
    if generator in ("iperf3", "http", "connections", "command") and path.family != "ipv4":
        entry["family"] = path.family
    return {
        "scenario": name,
        "title": f"{load.name} over {path.name}",
        "hosts": hosts,
        "links": _links(path),
        "traffic": [{"name": LOAD, generator: entry}],
        "repeat": 1,
        "warmup": load.warmup or path.warmup,
    }


def _links(path: PathSpec) -> list[dict[str, Any]]:
    ends = ["client", "router", "server"] if path.router else ["client", "server"]
    each_ns = path.rtt_ns // (2 * (len(ends) - 1))
    links = [
        {"between": [one, other]} | ({"delay": format_value(each_ns, "ns")} if each_ns else {})
        for one, other in pairwise(ends)
    ]  # fmt: skip
    if path.rate_bps is not None:
        links[-1] |= {"rate": f"{path.rate_bps}bit", "queue": f"{_queue_bytes(path)}b"}
    return links


def injected(document: Document, changes: Changes, values: Mapping[str, Figure]) -> Document:
    """Return the scenario with an injection's changes; the document itself is left as it is.

    Raises:
        ValueError: a text names what is no parameter, or the injection changes what the scenario does not have.
    """
    made = copy.deepcopy(document)
    wanted = filled(changes.model_dump(), values)
    for key, settings in wanted["hosts"].items():
        name = str(values.get(key, key)) if key in ("sender", "receiver") else key
        made["hosts"][name] = _merged(made["hosts"].get(name, {}), settings)
    if wanted["first"] and len(made["links"]) < 2:
        raise ValueError("changes.first needs a path with a router")
    made["links"][0] = _merged(made["links"][0], wanted["first"])
    last = 1 if "router" in document["hosts"] else 0
    made["links"][last] = _merged(made["links"][last], wanted["link"])
    entry = made["traffic"][0]
    generator = next(key for key in entry if key != "name")
    entry[generator] = _merged(entry[generator], wanted["load"])
    made["links"] += wanted["links"]
    made["traffic"] += wanted["traffic"]
    return made


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old values with the new ones in their place: mappings merged, lists lengthened, null removed."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            result[key] = [*before, *value]
        else:
            result[key] = value
    return result
