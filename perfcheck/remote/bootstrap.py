"""The few lines that the other machine's Python is given on its command line: they take our copy and start it.

They are run by any Python 3, so that one that is too old can say so. The copy goes to the run directory there, which
is root's own, and is held by a lock for as long as its agent lives.
"""

from __future__ import annotations

import functools
import io
import tarfile
import threading
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from typing import Final

import perfcheck
from perfcheck.ebpf import cache
from perfcheck.system.programs import LOAD

MARK: Final = b"perfcheck-bootstrap "
OLDEST_PYTHON: Final = (3, 11)
SENT: Final = ("errors.py", "version.py", "__init__.py", "model", "system", "ebpf", "collect", "agent")
"""The parts of the package that an agent needs, and `traffic/connections`, whose programs it runs.

Of C files those of `system/programs` and `bpf` are sent, which a compiler there may need.
"""

_PACKING: Final = threading.Lock()
"""Several machines are connected to at the same time, and the second one waits for what the first one packs."""

PROGRAM: Final = r"""
import os,sys,json,importlib.util
m=importlib.util.MAGIC_NUMBER.hex()
v=list(sys.version_info[:3]);u=os.geteuid()
r=os.environ.get("PERFCHECK_RUN_DIR") or "/run/perfcheck"
os.write(1,b"\nperfcheck-bootstrap "+json.dumps({"python":v,"uid":u,"bytecode":m}).encode()+b"\n")
if u or v<[3,11]:sys.exit(0)
def read(n):
 s=b""
 while len(s)<n:
  p=os.read(0,min(n-len(s),1<<20))
  if not p:sys.exit(1)
  s+=p
 return s
import fcntl,io,stat,tarfile,tempfile
b=read(int(read(16)))
try:
 os.makedirs(r,0o700,exist_ok=True)
 s=os.stat(r)
 if s.st_uid or s.st_mode&0o022:raise OSError(1,"others may write there")
 d=tempfile.mkdtemp(prefix="",suffix=".agent",dir=r)
 k=os.open(d,os.O_RDONLY|os.O_DIRECTORY)
 fcntl.flock(k,fcntl.LOCK_EX)
 os.set_inheritable(k,True)
 tarfile.open(fileobj=io.BytesIO(b)).extractall(d,**({"filter":"data"} if hasattr(tarfile,"data_filter") else {}))
except OSError as e:
 w="it cannot be used: "+str(e.strerror)
 e={"kind":"Unavailable","what":r,"why":w,"fix":"free space there, or remove it"}
 os.write(1,b"\nperfcheck-agent "+json.dumps({"error":e}).encode()+b"\n")
 sys.exit(1)
e=dict(os.environ,PYTHONPATH=d,PYTHONDONTWRITEBYTECODE="1")
os.execve(sys.executable,[sys.executable,"-m","perfcheck.agent.program",d],e)
"""


def package(bytecode: str = "") -> bytes:
    """Return the compressed copy that is sent, after its length as 16 digits; packed once a process.

    A Python there that has our `bytecode` (its magic number) is sent what is compiled here, which saves it a second.
    """
    with _PACKING:
        return _packed(bytecode == MAGIC_NUMBER.hex())


@functools.cache
def _packed(bytecode: bool) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz", compresslevel=1) as tar:
        for path, name in _with_bytecode() if bytecode else _files():
            info = tar.gettarinfo(path, name)
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mode = 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
    content = memory.getvalue()
    return f"{len(content):016d}".encode() + content


def _with_bytecode() -> Iterator[tuple[Path, str]]:
    """Yield the files, and what Python has compiled of them here; it holds their times, which the archive keeps."""
    for path, name in _files():
        yield path, name
        if path.suffix == ".py":
            compiled = Path(cache_from_source(str(path)))
            if compiled.is_file():
                yield compiled, f"{Path(name).parent}/__pycache__/{compiled.name}"


def _files() -> Iterator[tuple[Path, str]]:
    root = Path(perfcheck.__file__).parent
    for part in (*SENT, "traffic/connections"):
        path = root / part
        found = [path] if path.is_file() else sorted(path.rglob("*.py"))
        for each in found:
            yield each, f"perfcheck/{each.relative_to(root)}"
    for each in sorted(LOAD.parent.iterdir()):
        if each.suffix in {".c", ".h"}:
            yield each, f"perfcheck/{each.relative_to(root)}"
    for each in sorted(cache.sources().iterdir()):
        if each.suffix in {".c", ".h"}:
            yield each, f"perfcheck/bpf/{each.name}"
    yield from _pyroute2()


def _pyroute2() -> Iterator[tuple[Path, str]]:
    """Yield the files of pyroute2, which is Python alone; that machine need not have it."""
    import pyroute2

    root = Path(pyroute2.__file__).parent
    for each in sorted(root.rglob("*.py")):
        yield each, f"pyroute2/{each.relative_to(root)}"
