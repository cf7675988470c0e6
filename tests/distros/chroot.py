"""A fresh Debian in a folder, made by debootstrap, with this machine's package sources.

Everything is mounted in a private mount namespace, so no mount outlives the process.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES: Final = ("git", "make", "ca-certificates")
_INSIDE: Final = "PERFCHECK_DISTROS_INSIDE"
_KEPT: Final = re.compile(
    r"(PIP_|SSL_CERT_|OPENBLAS_).*|.*_proxy|.*_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|LANG|TERM"
)
_CONFIGURATION: Final = (
    "/etc/apt/apt.conf", "/etc/apt/apt.conf.d", "/etc/apt/auth.conf", "/etc/apt/auth.conf.d", "/etc/apt/keyrings",
    "/etc/apt/trusted.gpg.d", "/etc/pip.conf", "/etc/xdg/pip", "/root/.config/pip", "/root/.pip", "/root/.netrc",
    "/etc/resolv.conf", "/etc/hosts", "/usr/local/share/ca-certificates", "/etc/ssl/certs/ca-certificates.crt",
)  # fmt: skip
_LOCAL: Final = re.compile(r"(?:^|[\s'\"=])(?:file://)?(/[^\s'\"]+)")
_GRACE_S: Final = 60.0


def in_private_mounts() -> None:
    """Go on in a mount namespace of our own; does nothing the second time."""
    if os.environ.get(_INSIDE):
        return
    unshare = shutil.which("unshare") or "unshare"
    argv = [unshare, "--mount", "--propagation", "private", "--", sys.executable, *sys.argv]
    os.execve(unshare, argv, {**os.environ, _INSIDE: "1"})  # noqa: S606 - becomes the same program again


def _run(*argv: str, quiet: bool = False) -> None:
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=quiet, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: exit status {done.returncode}\n{(done.stderr or '')[-2000:]}")


def apt_sources(etc: Path, own: str, suite: str) -> Mapping[str, str]:
    """Return this machine's Debian sources, for another suite than its `own`; empty on another distribution."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    texts = {
        str(file.relative_to(etc)): file.read_text(encoding="utf-8")
        for file in files
        if file.suffix in {".list", ".sources"} and file.is_file()
    }
    # `bookworm`, `bookworm-updates`; not `product-bookworm` of another archive.
    named = re.compile(rf"(?<![-\w]){re.escape(own)}(?![\w])")
    debian = {name: text for name, text in texts.items() if named.search(text) and "debian" in text.lower()}
    return {name: named.sub(suite, text) for name, text in debian.items()}


def mirror(sources: Mapping[str, str]) -> str | None:
    """Return the archive that the first of the sources names, for debootstrap; None: its own default."""
    for text in sources.values():
        if found := re.search(r"^URIs:\s*(\S+)|^deb\s+(?:\[[^]]*\]\s+)?(\S+)", text, re.MULTILINE):
            return found[1] or found[2]
    return None


def environment() -> dict[str, str]:
    """Return what commands in a chroot get: the settings of registries, and nothing else of this machine's."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    return {**kept, "PATH": SYSTEM_PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def local_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield folders of this machine that pip is told to look into."""
    texts = [value for name, value in environ.items() if name in {"PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"}]
    files = [Path(one) for one in _CONFIGURATION if "pip" in one]
    configured = (inner for one in files for inner in ([one] if one.is_file() else one.rglob("*.conf")))
    texts += [file.read_text(encoding="utf-8") for file in configured]
    for path in (Path(found) for text in texts for found in _LOCAL.findall(text)):
        # An index leads to files beside it.
        folder = path.parent if path.name == "simple" else path
        if folder.is_dir() and folder != Path("/"):
            yield folder


@dataclass(frozen=True, kw_only=True)
class Chroot:
    """A Debian of `suite` in the folder `root`."""

    suite: str
    root: Path

    def unpack(self, cache: Path | None) -> None:
        """Fill the folder: from the cache's tarball, which is made where there is none, or by debootstrap."""
        tarball = None if cache is None else cache / f"{self.suite}.tar"
        self.root.mkdir(parents=True)
        if tarball is not None and tarball.exists():
            _run("tar", "-C", str(self.root), "-xpf", str(tarball))
            return
        found = mirror(apt_sources(Path("/etc/apt"), own_suite(), self.suite))
        archive = [] if found is None else [found]
        packages = f"--include={','.join(PACKAGES)}"
        _run("debootstrap", "--variant=minbase", packages, self.suite, str(self.root), *archive, quiet=True)
        if tarball is not None:
            tarball.parent.mkdir(parents=True, exist_ok=True)
            part = tarball.with_suffix(f".{os.getpid()}")
            try:
                _run("tar", "-C", str(self.root), "-cpf", str(part), ".")
                part.replace(tarball)
            finally:
                part.unlink(missing_ok=True)

    def configure(self) -> None:
        """Copy this machine's settings of apt, pip, name service and certificates."""
        for path in (Path(one) for one in _CONFIGURATION):
            target = self._inside(path)
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            elif path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        sources = apt_sources(Path("/etc/apt"), own_suite(), self.suite)
        if sources:
            (self._inside(Path("/etc/apt/sources.list"))).unlink(missing_ok=True)
        for name, text in sources.items():
            file = self._inside(Path("/etc/apt")) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def mount(self) -> None:
        """Mount the kernel's file systems, and what of this machine pip looks into."""
        # ip(8) and unshare(1) change how mounts spread from the root, which is refused where it is not a mount itself.
        _run("mount", "--bind", str(self.root), str(self.root))
        _run("mount", "-t", "proc", "proc", str(self.root / "proc"))
        for shared in ("sys", "dev"):
            _run("mount", "--rbind", f"/{shared}", str(self.root / shared))
        for volatile in ("run", "tmp"):
            _run("mount", "-t", "tmpfs", "-o", "mode=1777" if volatile == "tmp" else "mode=755", "tmpfs",
                 str(self.root / volatile))  # fmt: skip
        for folder in dict.fromkeys(local_folders(environment())):
            target = self._inside(folder)
            target.mkdir(parents=True, exist_ok=True)
            _run("mount", "--rbind", str(folder), str(target))

    def share_file(self, file: Path) -> None:
        """Show one file of this machine at the same place: a lock that both take."""
        target = self._inside(file)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.touch()
        _run("mount", "--bind", str(file), str(target))

    def run(self, argv: Sequence[str], folder: str, log: Path, environ: Mapping[str, str]) -> int:
        """Run a command, with its output in a file; on any other way out it is ended with what it started."""
        inside = ["chroot", str(self.root), "/usr/bin/env", "-C", folder, *argv]
        with log.open("wb") as output:
            process = subprocess.Popen(
                inside, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**environment(), **environ},
            )  # fmt: skip
            try:
                return process.wait()
            finally:
                _end(process)

    def remove(self) -> None:
        """End what still runs in it, unmount, delete; safe to call twice."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        mounted = Path("/proc/self/mounts").read_text(encoding="utf-8").split("\n")
        points = [line.split()[1] for line in mounted if line and Path(line.split()[1]).is_relative_to(self.root)]
        for point in reversed(points):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        mounted = Path("/proc/self/mounts").read_text(encoding="utf-8").split("\n")
        if any(line and Path(line.split()[1]).is_relative_to(self.root) for line in mounted):
            raise SystemExit(f"{self.root}: cannot be unmounted, and is not deleted")
        # Not through a mount that appeared meanwhile.
        if self.root.exists():
            _run("rm", "-rf", "--one-file-system", str(self.root))

    def _processes(self) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and (entry / "root").readlink().is_relative_to(self.root):
                    yield int(entry.name)

    def _inside(self, path: Path) -> Path:
        return self.root / path.relative_to("/")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the command's session to stop, wait for it, and kill what is left."""
    for number, patience_s in ((signal.SIGINT, _GRACE_S), (signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))


def own_suite() -> str:
    """Return this machine's code name, such as `bookworm`."""
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    found = re.search(r'^VERSION_CODENAME="?([a-z]+)', text, re.MULTILINE)
    return found[1] if found else "unknown"
