"""How commands name a flow, as `--flow` takes it so that it can be pasted, and its process."""

from __future__ import annotations

from perfcheck.live.grouping import process_label
from perfcheck.live.short_values import ABSENT
from perfcheck.model.flow import FlowKey
from perfcheck.model.flow_table import FlowTable


def flow_text(key: FlowKey, *, with_host: bool = True) -> str:
    """Return `10.0.0.1:40000->10.0.0.2:443`, its namespace before it where that is not the machine's own."""
    text = f"{end_text(key.local, key.local_port)}->{end_text(key.remote, key.remote_port)}"
    return f"{key.host}: {text}" if key.host and with_host else text


def flow_texts(table: FlowTable) -> list[str]:
    """Return the name of each row; the namespace is said only where several are watched."""
    several = len(table.hosts) > 1
    return [flow_text(key, with_host=several) for key in table.keys()]  # noqa: SIM118 - not a mapping


def end_text(address: str, port: int) -> str:
    """Return one end: `10.0.0.1:443`, `[::1]:443`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def process_of(table: FlowTable, row: int) -> str:
    """Return the process of a row, `-` where it is not known."""
    pid = int(table["pid"][row])
    return process_label(table.text("comm", row), pid) if pid else table.text("comm", row) or ABSENT
