"""Whole scenarios in a guest: perfcheck measures there as it does here, and says what keeps it from it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from stored_kernel import stored_kernel

from perfcheck.cli import main
from perfcheck.kernels import full_image
from perfcheck.kernels.full_image import OwnFiles
from perfcheck.kernels.guest import GuestOptions, boot
from perfcheck.kernels.job import Step
from perfcheck.kernels.store import Kernel
from perfcheck.model.record import RunRecord
from perfcheck.output import read_records
from perfcheck.output.series import SeriesReader
from perfcheck.runner import guest_run

SCENARIO = """\
scenario: in-a-guest
hosts: {{client: {client}, server: {{}}}}
links: [{{between: [client, server], delay: 10ms, rate: 20mbit, queue: 1bdp}}]
traffic: [{traffic}]
warmup: 0.5s
repeat: 1
expect: {{tcp.rtt_us.p50: ">= 20ms", app.throughput_bps: ">= 15mbit"}}
"""
IPERF3 = "{iperf3: {from: client, to: server, duration: 1.5s}}"


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return stored_kernel()


def run(kernel: Kernel, folder: Path, *words: str, client: str = "{}", traffic: str = IPERF3) -> tuple[int, RunRecord]:
    file, records = folder / "scenario.yaml", folder / "records.jsonl"
    file.write_text(SCENARIO.format(client=client, traffic=traffic))
    status = main(["run", str(file), "--kernel", kernel.name, "--json", str(records), *words])
    (record,) = read_records(records)
    return status, record


def test_a_scenario_is_measured_with_all_layers_events_and_series(kernel: Kernel, tmp_path: Path) -> None:
    events, series = tmp_path / "events.jsonl", tmp_path / "series.parquet"
    status, record = run(kernel, tmp_path, "--events", str(events), "--series", str(series))
    assert status == 0, record.invalid_reason
    assert record.environment["kernel.release"] == kernel.release
    assert record.environment["guest.kernel"] == kernel.name
    assert record.environment["emulators"] == ["netem"]
    assert record.unavailable == {}
    layers = {name.partition(".")[0] for name in record.metrics}
    assert layers == {"app", "socket", "tcp", "udp", "ip", "qdisc", "nic", "cpu"}
    # What the kernel counted and what iperf3 reports are alike.
    assert record.cross_checks
    assert all(check.agrees for check in record.cross_checks)
    assert record.series is not None
    assert record.series.file == str(series)
    kinds = SeriesReader(series).kinds()
    assert {kind.run for kind in kinds} == {record.run_id}
    assert any(kind.metric == "app.throughput_bps" for kind in kinds)
    if record.events is not None and events.exists():
        assert {json.loads(line)["context"]["run"] for line in events.read_text().splitlines()} == {record.run_id}


def test_a_kernel_that_does_not_tell_its_types_measures_what_needs_none(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were built without CONFIG_DEBUG_INFO_BTF: the folder of its types is covered by an empty one.
    hide = Step(kind="run", arguments=("mount", "-t", "tmpfs", "none", "/sys/kernel/btf"))
    steps_of = guest_run._steps
    monkeypatch.setattr(guest_run, "_steps", lambda *words: [hide, *steps_of(*words)])
    monkeypatch.setattr(guest_run, "_SETTLED", guest_run._SETTLED + 1)
    status, record = run(kernel, tmp_path)
    # A line that asks for what was not measured is no pass.
    assert status == 3, record.invalid_reason
    assert {each.metric: each.verdict.value for each in record.expectations} == {
        "tcp.rtt_us.p50": "INVALID", "app.throughput_bps": "PASS",
    }  # fmt: skip
    assert "the kernel's BTF is not available" in record.unavailable["tcp"]
    assert "tcp.retrans_segs" in record.metrics
    assert "qdisc.sojourn_us.p50" not in record.metrics


def test_a_panic_in_a_scenario_is_told_with_the_kernels_stack(
    kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "junit.xml"
    crash = "{setup: [\"sh -c 'echo c > /proc/sysrq-trigger'\"]}"
    status, record = run(kernel, tmp_path, "--junit", str(junit), client=crash)
    assert status == 3
    assert record.verdict.value == "INVALID"
    reason = str(record.invalid_reason)
    assert reason.startswith(f"the guest with kernel {kernel.name} died: its kernel panicked: sysrq triggered crash")
    assert "sysrq_handle_crash" in reason
    assert "sysrq_handle_crash" in capsys.readouterr().out
    error = next(ElementTree.parse(junit).getroot().iter("error"))
    assert "sysrq_handle_crash" in str(error.text)
    assert record.reproduce.endswith(f"--kernel {kernel.name}")


def test_a_guest_that_hangs_in_a_scenario_is_ended(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process of real time that never sleeps, on the only CPU, which nobody takes from it.
    monkeypatch.setattr(guest_run, "limits_s", lambda _: (1e4, 40.0))
    spin = "sh -c 'echo -1 > /proc/sys/kernel/sched_rt_runtime_us; exec chrt -f 99 sh -c \\\"while :; do :; done\\\"'"
    status, record = run(kernel, tmp_path, traffic=f'{{command: {{host: client, run: "{spin}"}}}}')
    assert status == 3
    reason = str(record.invalid_reason)
    assert "nothing was heard of its step 3 of 4 for 40 s of CPU time" in reason
    assert "NMI" in reason


def test_a_kernel_that_cannot_map_file_systems_unpacks_them(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_image, "MAPPING", ("nfit", "no_such_module"))
    image = full_image.full_image(kernel, OwnFiles())
    assert image.mapped == ()
    python = Step(kind="run", arguments=("python3", "-c", "import json, platform; print(platform.release())"))
    found = boot(kernel, image.write, (python,), GuestOptions(memory_mb=6144, boot_limit_s=600.0))
    assert found.report.steps[0].text == f"{kernel.release}\n"
