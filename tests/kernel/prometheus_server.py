"""A Prometheus of our own: it scrapes each second, keeps what it got in a folder of the test, and answers queries."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab_building import need_program

from perfcheck.system.clock import wait_until

STEP_S: Final = 1
CONFIG: Final = """\
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
"""
JOB: Final = """\
- job_name: %s
  static_configs: [{targets: ["%s"]}]
"""
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One series of an answer: its labels, and values by time, oldest first."""

    labels: Labels
    values: tuple[tuple[float, float], ...]

    @property
    def finite(self) -> tuple[float, ...]:
        """The values that are numbers."""
        return tuple(value for _, value in self.values if math.isfinite(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A server that runs."""

    url: str

    def over(self, expression: str, begin_s: float, end_s: float) -> list[Found]:
        """Return what an expression was in a time."""
        asked = {"query": expression, "start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": str(STEP_S)}
        return [_found(one, one["values"]) for one in self._get("query_range", asked)["result"]]

    def at(self, expression: str, time_s: float) -> list[Found]:
        """Return what an expression was at a moment."""
        data = self._get("query", {"query": expression, "time": f"{time_s:.3f}"})
        if data["resultType"] == "scalar":
            return [_found({"metric": {}}, [data["result"]])]
        return [_found(one, [one["value"]]) for one in data["result"]]

    def alerts(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {one["labels"]["alertname"] for one in self._get("alerts", {})["alerts"] if one["state"] == "firing"}

    def ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):  # noqa: S310 - our own server
                return True
        except OSError:
            return False

    def _get(self, what: str, asked: Mapping[str, str]) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{asked.get('query')}: {error.read().decode()}") from None


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, str], *, rules: Path) -> Iterator[Prometheus]:
    """Run a server that scrapes `HOST:PORT` of each job."""
    need_program("prometheus", "prometheus")
    folder.mkdir()
    config = folder / "prometheus.yml"
    jobs = "".join(JOB % job for job in targets.items())
    config.write_text(CONFIG % rules + jobs, encoding="utf-8")
    port = free_port()
    argv = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=error",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with subprocess.Popen(argv, cwd=folder) as process:
        try:
            server = Prometheus(url=f"http://127.0.0.1:{port}")
            assert wait_until(server.ready, timeout_s=10), "prometheus does not answer"
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            finally:
                process.kill()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _found(one: Mapping[str, Any], values: list[list[Any]]) -> Found:
    return Found(labels=one["metric"], values=tuple((float(time), float(value)) for time, value in values))
