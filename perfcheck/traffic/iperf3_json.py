"""Reads the output of `iperf3 -J` (3.12 to 3.18) into typed values; nothing here touches the machine.

Each side writes its own document. The readers of these types must know some quirks, all seen in recorded output:

- A failure is a key `error`; the exit status may still be 0.
- Only the receiving side's own intervals show what arrived, and when. The other side's document has at most the
  receiver's totals.
- A UDP receiver's totals say `bytes: 0`; its intervals are right.
- A sending client ends when it has written everything, not when everything has arrived: the receiver's total is then
  smaller than the sender's by the data in flight.
- From 3.16 on (one thread a stream) a TCP receiver counts whole reads of `blksize` bytes.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perfcheck.errors import TrafficError

_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Seconds = Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)]
_Percent = Annotated[float, Field(ge=0, lt=1e6, allow_inf_nan=False)]
_Port = Annotated[int, Field(ge=0, le=65535)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Connected(_Part):
    """One data connection (never the control connection), as the writing side sees it."""

    socket: int
    local_host: str
    local_port: _Port
    remote_host: str
    remote_port: _Port


class TestStart(_Part):
    """The parameters that both sides agreed on."""

    blksize: _Count = 0


class Start(_Part):
    """What is known before the traffic."""

    connected: tuple[Connected, ...] = ()
    version: str = ""
    test_start: TestStart = TestStart()


class StreamInterval(_Part):
    """One stream in one interval, times in seconds since this side's start; UDP fields at the receiver only."""

    socket: int
    start: _Seconds
    end: _Seconds
    size_bytes: _Count = Field(alias="bytes")
    packets: _Count | None = None
    lost_packets: Annotated[int, Field(gt=-(2**63), lt=2**63)] | None = None
    jitter_ms: Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)] | None = None


class Interval(_Part):
    """All streams in one interval."""

    streams: tuple[StreamInterval, ...] = ()


class Total(_Part):
    """One end of one stream over the whole test."""

    socket: int
    size_bytes: _Count = Field(alias="bytes")
    retransmits: _Count | None = None


class StreamEnd(_Part):
    """One stream's totals: `sender` and `receiver` for TCP, `udp` for UDP."""

    sender: Total | None = None
    receiver: Total | None = None
    udp: Total | None = None


class TotalReceived(_Part):
    """The receiver's total over all streams."""

    seconds: _Seconds
    size_bytes: _Count = Field(alias="bytes")


class CpuUse(_Part):
    """CPU time over wall time in percent of one CPU, of the writing side and of the other."""

    host_total: _Percent | None = None
    remote_total: _Percent | None = None


class End(_Part):
    """The totals."""

    streams: tuple[StreamEnd, ...] = ()
    sum_received: TotalReceived | None = None
    cpu_utilization_percent: CpuUse = CpuUse()
    sender_tcp_congestion: str | None = None


class Document(_Part):
    """The whole output of one side."""

    start: Start = Start()
    intervals: tuple[Interval, ...] = ()
    end: End = End()
    error: str | None = None

    @property
    def version(self) -> tuple[int, int]:
        """Version of iperf3, e.g. (3, 12); (0, 0) where the text has none."""
        match = re.search(r"(\d{1,6})\.(\d{1,6})", self.start.version)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    @property
    def message(self) -> str | None:
        """iperf3's own error message without its prefix, or None."""
        return None if self.error is None else self.error.removeprefix("error - ")


_LONGEST_EXCERPT: Final = 200


def parse(text: str) -> Document:
    """Read one side's output; TrafficError says what is wrong with it and quotes its start.

    Anything before the first brace (warnings) and after the document is left out.
    """
    begin = text.find("{")
    if begin < 0:
        raise TrafficError(f"iperf3 wrote no JSON{_excerpt(text)}")
    try:
        document, _ = json.JSONDecoder().raw_decode(text, begin)
        return Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrafficError(f"iperf3's JSON is not as expected at {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise TrafficError(f"iperf3's JSON is damaged or cut off ({error}){_excerpt(text)}") from None


def _excerpt(text: str) -> str:
    shown = " ".join(text.split())[:_LONGEST_EXCERPT]
    return f": {shown!r}" if shown else " at all"
