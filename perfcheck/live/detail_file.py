"""Records of packets in a file: a .npz of two arrays without pickles, bounded and checked when it is read."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from perfcheck.errors import Problem, RecordError
from perfcheck.model.detail import DetailStream, Kind
from perfcheck.model.flow import FlowKey, flow_id
from perfcheck.system.bounded_read import read_bounded
from perfcheck.system.files import write_report

FORMAT: Final = 1
EVENT: Final = np.dtype(
    [("ns", "<u8"), ("flow", "<u8"), ("seq", "<u4"), ("length", "<u4"), ("lot", "<u4"), ("value", "<u4"),
     ("sent_ns", "<u8"), ("ifindex", "<u4"), ("id", "<u2"), ("segments", "<u2"), ("cpu", "<u2"), ("host", "u1"),
     ("kind", "u1"), ("protocol", "u1"), ("tcp_flags", "u1"), ("spare", "<u2")]
)  # fmt: skip
"""`struct pc_event` (bpf/detail.h) without holes."""
MOST_RECORDS: Final = 2_000_000
"""As many as detail mode keeps."""
MOST_BYTES: Final = MOST_RECORDS * EVENT.itemsize + (16 << 20)
MOST_ABOUT_BYTES: Final = 8 << 20
_MEMBERS: Final = {"events.npy": MOST_BYTES, "about.npy": MOST_ABOUT_BYTES}
_MOST_HEADER: Final = 4096
_LARGEST: Final = 2**62
_MEND: Final = "`perfctl latency --detail --save FILE` writes such files"
_Time = Annotated[int, Field(ge=0, le=_LARGEST)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedDetail:
    """A stream, and what its CLOCK_MONOTONIC lacked to the time of day."""

    stream: DetailStream
    epoch_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """What a file says beside the records; what a newer perfcheck adds is passed over."""

    format: Annotated[int, Field(ge=1)]
    epoch_ns: Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
    start_ns: _Time
    end_ns: _Time
    hosts: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)]
    flows: Annotated[dict[Annotated[int, Field(ge=1, lt=2**64)], FlowKey], Field(max_length=65536)]
    share: Annotated[float, Field(ge=0, le=1)]
    lost: _Time
    written: _Time
    told: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)]
    filtered: bool


_ABOUT: Final = TypeAdapter(_About)


def save_detail(path: Path, saved: SavedDetail) -> None:
    """Write a stream, whole or not at all; OSError as it came."""
    stream = saved.stream
    about = _About(
        format=FORMAT, epoch_ns=saved.epoch_ns, start_ns=stream.start_ns, end_ns=stream.end_ns, hosts=stream.hosts,
        flows=dict(stream.flows), share=stream.share, lost=stream.lost, written=stream.written, told=stream.told,
        filtered=stream.filtered,
    )  # fmt: skip
    events = np.zeros(len(stream.events), EVENT)
    for name in EVENT.names or ():
        events[name] = stream.events[name]
    text = np.frombuffer(json.dumps(_ABOUT.dump_python(about, mode="json")).encode(), np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, events=events, about=text)
    write_report(path, content.getvalue())


def load_detail(path: Path) -> SavedDetail:
    """Read a stream; RecordError or UnreadableFile says on one line what is wrong with the file."""
    content = read_bounded(path, MOST_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name: _array(archive, name, most) for name, most in _MEMBERS.items()}
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error, NotImplementedError, RuntimeError, OSError):
        _refuse(path, f"it is not a whole file of packets; {_MEND}")
    except ValueError as problem:
        _refuse(path, str(problem))
    try:
        return _checked(arrays["events.npy"], arrays["about.npy"])
    except ValidationError as problem:
        first = problem.errors()[0]
        _refuse(path, f"its description is damaged at {'.'.join(map(str, first['loc'])) or 'the begin'}; {_MEND}")
    except ValueError as problem:
        _refuse(path, str(problem))


def _refuse(path: Path, message: str) -> NoReturn:
    raise RecordError(Problem(file=str(path), line=0, column=0, path="", message=message)) from None


def _array(archive: zipfile.ZipFile, name: str, most: int) -> npt.NDArray[Any]:
    """Read one member; its size in the archive's table is checked, and no more is unpacked."""
    if archive.getinfo(name).file_size > most:
        raise ValueError(f"{name} in it is larger than {most} bytes")
    with archive.open(name) as member:
        content = member.read(most + 1)
    stream = io.BytesIO(content)
    try:
        np.lib.format.read_magic(stream)
        stream.seek(0)
        found = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=_MOST_HEADER)
    except (ValueError, TypeError, SyntaxError, MemoryError, OverflowError, EOFError, UnicodeError):
        raise ValueError(f"{name} in it is damaged; {_MEND}") from None
    return np.asarray(found)


def _checked(events: npt.NDArray[Any], raw: npt.NDArray[Any]) -> SavedDetail:
    if events.dtype != EVENT or events.ndim != 1 or len(events) > MOST_RECORDS:
        raise ValueError(f"its records are not those of this version of perfctl; {_MEND}")
    if raw.dtype != np.uint8 or raw.ndim != 1:
        raise ValueError(f"its description is damaged; {_MEND}")
    about = _ABOUT.validate_json(raw.tobytes())
    if about.format != FORMAT:
        raise ValueError(f"it has format {about.format}, and this perfctl reads format {FORMAT}; use the same version")
    if about.end_ns < about.start_ns:
        raise ValueError(f"it ends before it begins; {_MEND}")
    _check_records(events, len(about.hosts))
    for key in about.flows.values():
        flow_id(key)  # ValueError for what is no address
    return SavedDetail(
        stream=DetailStream(
            events=events, hosts=about.hosts, flows=about.flows, start_ns=about.start_ns, end_ns=about.end_ns,
            share=about.share, lost=about.lost, written=about.written, told=about.told, filtered=about.filtered,
        ),
        epoch_ns=about.epoch_ns,
    )  # fmt: skip


def _check_records(events: npt.NDArray[Any], hosts: int) -> None:
    if not len(events):
        return
    kinds: Mapping[str, bool] = {
        "host": bool(((events["host"] < 1) | (events["host"] > hosts)).any()),
        "kind": bool(~np.isin(events["kind"], [int(kind) for kind in Kind]).all()),
        "time": bool((events["ns"] >= _LARGEST).any() or (np.diff(events["ns"].astype(np.int64)) < 0).any()),
        "length": bool((events["length"] > 1 << 30).any()),
    }
    for name, is_wrong in kinds.items():
        if is_wrong:
            raise ValueError(f"a record in it has no valid {name}; {_MEND}")
