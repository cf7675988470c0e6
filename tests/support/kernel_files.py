"""Kernels for tests of the store: images, modules and packages that are small and well formed, or wrong on purpose."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RELEASE: Final = "6.12.7+deb12-cloud-amd64"
BTF: Final = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 1) + b"\0"
CONFIG: Final = b"# Linux\nCONFIG_NET=y\nCONFIG_MODULES=y\n"


def elf(sections: Mapping[str, bytes]) -> bytes:
    """Return a relocatable 64-bit ELF file with these sections."""
    names = b"\0"
    headers = [(0, 0, 0, 0, 0, 0)]
    body = b""
    at = 64
    for name, content in (*sections.items(), (".shstrtab", b"")):
        place, names = len(names), names + name.encode() + b"\0"
        whole = content if name != ".shstrtab" else names
        headers.append((place, 3 if name == ".shstrtab" else 1, 2, 0, at + len(body), len(whole)))
        body += whole
    table = b"".join(struct.pack("<IIQQQQIIQQ", *header, 0, 0, 1, 0) for header in headers)
    start = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 1, 62, 1, 0, 0, at + len(body), 0, 64, 0, 0, 64, len(headers),
        len(headers) - 1,
    )  # fmt: skip
    return start + body + table


def vmlinux(*, btf: bytes | None = BTF, config: bytes | None = None) -> bytes:
    """Return a kernel as it is inside an image."""
    sections = {".text": b"\x90" * 4000}
    if btf is not None:
        sections[".BTF"] = btf
    if config is not None:
        sections[".rodata"] = b"IKCFG_ST" + gzip.compress(config) + b"IKCFG_ED"
    return elf(sections)


def by_program(*argv: str) -> Callable[[bytes], bytes]:
    """Return a function that compresses with a program."""
    return lambda content: subprocess.run(argv, input=content, capture_output=True, check=True).stdout


COMPRESSIONS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
    "zstd": by_program("zstd", "-cq"),
    "lz4": by_program("lz4", "-lcq"),
}


def image(release: str = RELEASE, inside: bytes | None = None, compression: str = "gzip") -> bytes:
    """Return a bzImage: a setup of two sectors, then the compressed kernel, with the size that a build appends."""
    inside = vmlinux() if inside is None else inside
    payload = COMPRESSIONS[compression](inside)
    if compression != "gzip":
        payload += struct.pack("<I", len(inside))
    body = b"\0" * 64 + payload
    body += b"\0" * (-len(body) % 16)
    setup = bytearray(3 * 512)
    setup[0x1F1] = 2
    struct.pack_into("<I", setup, 0x1F4, len(body) // 16)
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x020F)
    struct.pack_into("<H", setup, 0x20E, 0x200)
    setup[0x211] = 1
    struct.pack_into("<H", setup, 0x236, 1)
    struct.pack_into("<II", setup, 0x248, 64, len(payload))
    version = f"{release} (somebody@example) #1 SMP\0".encode()
    setup[0x400 : 0x400 + len(version)] = version
    return bytes(setup) + body


def module(release: str = RELEASE, text: str = "") -> bytes:
    """Return a kernel module that depmod can read."""
    info = f"license=GPL\0{text}vermagic={release} SMP preempt mod_unload \0".encode()
    return elf({".modinfo": info})


def modules_folder(folder: Path, release: str = RELEASE, names: Sequence[str] = ("net/one", "net/two")) -> Path:
    """Make a folder such as /lib/modules/RELEASE."""
    for name in names:
        path = folder / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(release))
    (folder / "modules.order").write_text("".join(f"kernel/{name}.ko\n" for name in names))
    (folder / "modules.builtin").write_text("kernel/net/unix/unix.ko\n")
    (folder / "modules.builtin.modinfo").write_bytes(b"unix.alias=net-pf-1\0")
    return folder


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of a package; `link` and `kind` for what is no regular file."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""


def kernel_members(release: str = RELEASE, *, usr: str = "", content: bytes | None = None) -> list[Member]:
    """Return the files of a kernel's package."""
    modules = f"./{usr}lib/modules/{release}"
    return [
        Member(name="./boot", kind=tarfile.DIRTYPE),
        Member(name=f"./boot/vmlinuz-{release}", content=content or image(release)),
        Member(name=f"./boot/config-{release}", content=CONFIG),
        Member(name=f"{modules}/kernel/net/one.ko", content=module(release)),
        Member(name=f"{modules}/kernel/net/two.ko", content=module(release)),
        Member(name=f"{modules}/modules.order", content=b"kernel/net/one.ko\nkernel/net/two.ko\n"),
        Member(name=f"{modules}/modules.dep", content=b"not ours"),
        Member(name=f"{modules}/build", kind=tarfile.SYMTYPE, link=f"/usr/src/linux-headers-{release}"),
        Member(name="./usr/share/doc/linux/copyright", content=b"GPL"),
    ]


def package(
    path: Path, members: Sequence[Member], *, name: str = f"linux-image-{RELEASE}", version: str = "6.12.7-1~deb12u1"
) -> Path:
    """Write a Debian package."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDescription: a kernel\n".encode()
    data = _tar([Member(name="./control", content=control)])
    path.write_bytes(
        b"!<arch>\n"
        + _ar("debian-binary", b"2.0\n")
        + _ar("control.tar.gz", gzip.compress(data))
        + _ar("data.tar.xz", lzma.compress(_tar(members)))
    )
    return path


def divided_packages(folder: Path, release: str = RELEASE) -> dict[str, Path]:
    """Write the three packages that Debian divides a kernel into since 6.19; return them by their kind."""
    place = f"./usr/lib/modules/{release}"
    members = {
        "binary": [Member(name=f"{place}/vmlinuz", content=image(release))],
        "modules": [Member(name=f"{place}/kernel/net/{name}.ko", content=module(release)) for name in ("one", "two")],
        "base": [
            Member(name=f"{place}/System.map", content=b"ffffffff81000000 T _stext\n"),
            Member(name=f"{place}/config", content=CONFIG),
            Member(name=f"{place}/modules.builtin", content=b"kernel/net/unix/unix.ko\n"),
            Member(name=f"{place}/modules.order", content=b"kernel/net/one.ko\nkernel/net/two.ko\n"),
        ],
    }
    return {
        kind: package(folder / f"{kind}.deb", files, name=f"linux-{kind}-{release}") for kind, files in members.items()
    }


def _ar(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return header + content + (b"\n" if len(content) % 2 else b"")


def _tar(members: Sequence[Member]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.size = member.kind, member.link, len(member.content)
            archive.addfile(info, io.BytesIO(member.content))
    return stream.getvalue()
