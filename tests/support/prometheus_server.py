"""A real Prometheus of a test's own: its folder, its port, and what it scrapes each second."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_programs import program

from perfcheck.system.clock import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """Answers queries."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the API; AssertionError where it is an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"{path}?{urllib.parse.urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series that an expression has now."""
        found = self.get("/api/v1/query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, expression: str) -> float | None:
        """Return the value of an expression that has one series; None where it has none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def is_ready(self) -> bool:
        """Return whether it answers yet."""
        try:
            return bool(self.query("vector(1)"))
        except (OSError, ValueError):
            return False


@contextmanager
def scraping(
    folder: Path, targets: Sequence[str], *options: str, rules: Sequence[Path] = ()
) -> Iterator[Prometheus]:  # fmt: skip
    """Run a Prometheus that scrapes targets (HOST:PORT), and asks rules, each second until the block ends."""
    port = _free_port()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "perfctl", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))
    argv = [
        program("prometheus"), f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", *options,
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(argv, stderr=log, stdout=log) as process:
        try:
            found = Prometheus(port=port)
            assert wait_until(found.is_ready, timeout_s=20), (folder / "prometheus.log").read_text()
            yield found
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
