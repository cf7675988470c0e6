"""A compiled BPF source: instructions and maps without file descriptors, so that it can be stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MapImage:
    """One map; `value_layout` is BCC's JSON description of the value's C type."""

    name: str
    type: int
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int
    value_layout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramImage:
    """One program.

    `kind` is `tp_btf`, `iter`, `fentry`, `fexit`, `kprobe` or `kretprobe`, `target` the tracepoint's, iterator's or
    function's name, `btf_id` the type it attaches to in the kernel's BTF (0: this kernel has no such hook).
    `maps` gives, for the index of each instruction that loads a map's address, the map's name.
    """

    kind: str
    target: str
    btf_id: int
    code: bytes
    maps: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tells it from the others: the target alone where it may have but one program."""
        return self.target if self.kind in {"tp_btf", "iter"} else f"{self.kind}/{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """All maps and programs of one source file, for one kernel."""

    source: str
    maps: tuple[MapImage, ...]
    programs: tuple[ProgramImage, ...]


def to_json(image: Image) -> str:
    """Serialize, instructions as hexadecimal."""
    programs = [
        {"kind": p.kind, "target": p.target, "btf_id": p.btf_id, "code": p.code.hex(),
         "maps": {str(index): name for index, name in p.maps.items()}}
        for p in image.programs
    ]  # fmt: skip
    maps = [asdict(one) for one in image.maps]
    return json.dumps({"format": FORMAT, "source": image.source, "maps": maps, "programs": programs})


def from_json(text: str) -> Image:
    """Read what `to_json` wrote; raise ValueError for anything else."""
    try:
        raw: dict[str, Any] = json.loads(text)
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']}, expected {FORMAT}")
        return Image(
            source=raw["source"],
            maps=tuple(MapImage(**one) for one in raw["maps"]),
            programs=tuple(
                ProgramImage(
                    kind=one["kind"],
                    target=one["target"],
                    btf_id=one["btf_id"],
                    code=bytes.fromhex(one["code"]),
                    maps={int(index): name for index, name in one["maps"].items()},
                )
                for one in raw["programs"]
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a stored image: {error!r}") from error
