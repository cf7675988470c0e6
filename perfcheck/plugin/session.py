"""What one pytest process keeps while it runs scenarios; made when the first scenario file is collected."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from perfcheck.model.scenario import Scenario
from perfcheck.model.seams import Output
from perfcheck.output.jsonl import JsonLinesOutput
from perfcheck.plugin import options
from perfcheck.plugin.measurement import Measurements
from perfcheck.plugin.progress import progress_for
from perfcheck.plugin.workers import SHARED_KEY
from perfcheck.scenario import ScenarioFile

_SESSION: Final = pytest.StashKey["PluginSession"]()


class PluginSession:
    """Options, the runner behind `measurements`, and the folder that xdist workers share."""

    def __init__(self, config: pytest.Config) -> None:
        """Make the runner, without any measurement yet."""
        self.options = options.read(config)
        self.files: dict[str, ScenarioFile] = {}
        progress = progress_for(config)
        self._runner = config.hook.pytest_perfcheck_runner(config=config, options=self.options, progress=progress)
        # What is cleaned up last is noted first: the report needs the files of series and events.
        kept = _kept_for_report(config, self.options)
        shared = getattr(config, "workerinput", {}).get(SHARED_KEY)
        self.measurements = Measurements(
            self._runner,
            keep=self.options.keep,
            outputs=(*_outputs(self.options), *kept),
            shared=Path(shared) if shared else None,
            finished=progress.clear if progress is not None else lambda: None,
            debug=self.options.debug,
        )
        config.add_cleanup(self.measurements.close)
        # An xdist worker ends without the interpreter's own clean-up. Another's runner may have nothing to close.
        config.add_cleanup(getattr(self._runner, "close", lambda: None))

    @classmethod
    def of(cls, config: pytest.Config) -> PluginSession:
        """Return the session of this process, made at the first call."""
        if _SESSION not in config.stash:
            config.stash[_SESSION] = cls(config)
        return config.stash[_SESSION]

    def check_options(self) -> None:
        """Raise pytest's UsageError for a tolerance that fits no scenario, and a kernel that is not there."""
        from perfcheck.errors import UsageError
        from perfcheck.runner.options import check_metrics, check_subjects

        scenarios = [one for file in self.files.values() for one in file.scenarios]
        try:
            check_metrics(self.options.tolerances, scenarios)
            check_subjects(self.options.tolerances, scenarios)
            # Another's runner may know no kernels.
            getattr(self._runner, "check_kernels", lambda: None)()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None

    def compared(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the metrics of a scenario that will be compared, with a baseline or side by side."""
        return self._runner.planned_comparisons(scenario) if self.options.compares else ()


def _kept_for_report(config: pytest.Config, chosen: options.PluginOptions) -> tuple[Output, ...]:
    if chosen.report_path is None:
        return ()
    from perfcheck.plugin.final_report import kept_for_report

    return (kept_for_report(config),)


def _outputs(chosen: options.PluginOptions) -> tuple[Output, ...]:
    found: list[Output] = []
    if chosen.json_path is not None:
        found.append(JsonLinesOutput(chosen.json_path))
    if chosen.history_dir is not None:
        from perfcheck.runner.history import HistoryOutput

        found.append(HistoryOutput(chosen.history_dir))
    if chosen.textfile_path is not None:
        from perfcheck.export.records import PrometheusOutput

        found.append(PrometheusOutput(chosen.textfile_path))
    return tuple(found)
