"""Runs commands as argument lists, never in a shell. Every failure is an error that says what to do."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from perfcheck.errors import CouldNotMeasure, Unavailable

TAG_VARIABLE: Final = "PERFCHECK_TAG"
"""Every process of a lab carries the lab's tag in this environment variable, so that `clean` finds it."""

DEBIAN_PACKAGES: Final[Mapping[str, str]] = {
    "bpftool": "bpftool",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "ethtool": "ethtool",
    "h2load": "nghttp2-client",
    "ip": "iproute2",
    "iperf3": "iperf3",
    "lz4": "lz4",
    "lzop": "lzop",
    "nft": "nftables",
    "nghttpd": "nghttp2-server",
    "ping": "iputils-ping",
    "sockperf": "sockperf",
    "setpriv": "util-linux",
    "ss": "iproute2",
    "tc": "iproute2",
    "tcpdump": "tcpdump",
    "zstd": "zstd",
}

_SHOWN_CHARS: Final = 2000
_LAST_WORDS_S: Final = 1.0


def find(tool: str) -> str:
    """Return the tool's path; Unavailable names the Debian package that has it."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise missing(tool)
    return path


def missing(tool: str) -> Unavailable:
    """Make the error for a tool that is not installed."""
    package = DEBIAN_PACKAGES.get(tool)
    fix = f"apt-get install {package}" if package else f"install {tool}, or give its full path"
    return Unavailable(tool, "there is no such command in PATH", fix)


def tagged_environment(tag: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with a lab's tag and `extra` in it."""
    return {**os.environ, **(extra or {}), TAG_VARIABLE: tag}


def popen(
    argv: Sequence[str], *, stdin: int | None = None, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a command, stdout and stderr piped; Unavailable where it is not installed.

    It runs in the calling thread's network namespace and on its CPUs, which is how the lab places
    it: nothing needs to run between fork and exec, so this is safe beside other threads.
    """
    path = argv[0] if "/" in argv[0] else find(argv[0])
    try:
        return subprocess.Popen(
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
        )
    except FileNotFoundError:
        raise missing(argv[0]) from None
    except OSError as problem:
        raise Unavailable(argv[0], str(problem.strerror), "give an executable file") from None


def finish(
    process: subprocess.Popen[bytes], argv: Sequence[str], *, timeout_s: float, error: type[CouldNotMeasure]
) -> subprocess.CompletedProcess[bytes]:
    """Wait for a started command and give its output; past `timeout_s` it is killed and `error` raised."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        stderr = kill(process)
        raise error(f"`{shlex.join(argv)}` did not end within {timeout_s:g} s{_said(stderr)}") from None
    except BaseException:
        kill(process)
        raise
    return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)


def kill(process: subprocess.Popen[bytes]) -> bytes:
    """Kill a started command and give what it had still to say on stderr; its own children may hold the pipes open."""
    process.kill()
    try:
        return process.communicate(timeout=_LAST_WORDS_S)[1] or b""
    except subprocess.TimeoutExpired as held:
        release(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_WORDS_S)
        return held.stderr or b""


def release(process: subprocess.Popen[bytes]) -> None:
    """Close this side's ends of a command's pipes; safe to call twice."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def run(
    argv: Sequence[str],
    *,
    timeout_s: float = 30.0,
    env: Mapping[str, str] | None = None,
    error: type[CouldNotMeasure] = CouldNotMeasure,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end; `error` with the command's stderr where its status is not 0."""
    done = finish(popen(argv, env=env), argv, timeout_s=timeout_s, error=error)
    if done.returncode != 0:
        raise error(failure(done))
    return done


def failure(done: subprocess.CompletedProcess[bytes]) -> str:
    """Say how a command failed, in its own words."""
    how = f"failed with status {done.returncode}" if done.returncode >= 0 else f"was ended by signal {-done.returncode}"
    return f"`{shlex.join(done.args)}` {how}{_said(done.stderr or done.stdout)}"


def _said(output: bytes) -> str:
    text = output.decode(errors="replace").strip()
    return f": {text[-_SHOWN_CHARS:]}" if text else ""
