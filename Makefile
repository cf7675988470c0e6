# perfcheck: `make demo` measures the shipped scenarios, `make test` runs the tests; both install what they need.
SHELL := /bin/sh
VENV ?= .venv
PYTHON := $(VENV)/bin/python
PYTEST := $(PYTHON) -m pytest
# Benchmarks share what pytest finds by `pythonpath` in pyproject.toml.
BENCH_PYTHON := PYTHONPATH=$(CURDIR)/tests/support $(PYTHON)
# The scenarios of the demonstration, in the order in which a newcomer should read them.
DEMO ?= scenarios/
# Arguments of bench-links and bench-overhead.
BENCH ?=
# Arguments of campaign-faults, campaign-confirm and campaign-chains.
CAMPAIGN ?=

# What `make distros` tries, and where.
DISTROS ?= bookworm trixie
TARGETS ?= demo test
# Arguments of uv for `make lock`, such as LOCK="--upgrade-package numpy"; without it, all versions are renewed.
LOCK ?=

# Debian's kernel of `make vm`: 6.1 or 6.12.
RELEASE ?= 6.12
# Kernel tests that need features which many kernels lack (netem, Open vSwitch, tracing of functions), and tests of
# metrics that have other hooks on other kernels.
VM_MODULES := openvswitch sch_netem nf_conntrack nft_ct
VM_TESTS := $(addprefix tests/kernel/test_,links_netem.py collect_ip_ovs.py collect_ip_times.py \
	collect_ip_conntrack.py collect_detail.py collect_detail_runs.py collect_events.py collect_tcp_retransmissions.py)
# These run before any of the modules is loaded.
VM_FIRST := tests/kernel/test_ebpf_late_modules.py
UNIT := $(PYTEST) -q -p no:cacheprovider --hypothesis-profile=ci
# These tests start workers themselves; that keeps two CPUs busy.
WORKERS := tests/plugin/test_xdist.py
GUESTS := $(addprefix tests/kernel/test_,in_a_guest.py cost_ab.py guest_measures.py)
VM_PYTEST := PERFCHECK_REQUIRE_KERNEL=1 PERFCHECK_REQUIRE_ALL=1 $(PYTEST) -q -p no:cacheprovider --tb=short --durations=5

# Python keeps what it has compiled, also where the environment says otherwise: each start of perfcheck takes a third
# less time, each start of pytest half of it. The tests start both hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup lock distros demo test lint unit kernel test-tools part-lint part-types part-unit part-plugin \
	part-xdist part-beside part-kernel guests vm baselines bench bench-links bench-overhead bench-perfctl bench-screen \
	bench-prometheus bench-detail bench-series bench-report bench-compare bench-diagnose error-rates campaign \
	campaign-faults campaign-confirm campaign-chains fit-diagnosis report-diagnosis docs pages dashboards kills clean
# The parts of a target run in their order, also with -j.
.NOTPARALLEL:

help:
	@echo 'make demo            measure the shipped scenarios and compare them with the committed baselines'
	@echo 'make test            all tests, and how long each part took: lint, types, unit, plugin, xdist, beside, kernel'
	@echo 'make unit            the tests that need no root'
	@echo 'make vm              kernel tests in a guest with Debian'"'"'s kernel (RELEASE=6.1 or 6.12)'
	@echo 'make guests          in guests: a whole comparison, whole scenarios, counts of Open vSwitch and connection tracking'
	@echo 'make docs            the documentation as a site, in build/site; it can be opened as files'
	@echo 'make distros         demo and test in fresh chroots of Debian 12 and 13 (DISTROS="trixie" TARGETS="demo", KEEP=FOLDER)'
	@echo 'make lock            renew requirements.lock, the exact versions that setup installs'
	@echo 'make baselines       measure, and save a new session in baselines/'
	@echo 'make bench           time of the steps around the traffic: lab up, programs attached, lab down'
	@echo 'make bench-links     compare emulated links with what was asked (BENCH="--only table --output docs/bench-links.md")'
	@echo 'make bench-overhead  what measuring costs, next to BCC and bpftrace (BENCH="--only tools --output FILE")'
	@echo 'make bench-perfctl   what perfctl costs, next to BCC, bpftrace and ss, with filters, and with 10,000 connections'
	@echo 'make bench-screen    what the screen of perfctl top takes of a CPU, with 1,000 and 10,000 connections'
	@echo 'make bench-prometheus  how long scrapes take with 10,000 connections, many scrapers and slow clients'
	@echo 'make bench-detail    how fast detail mode reads its ring buffer, and that every lost record is counted'
	@echo 'make bench-series    size of time series, how long drawing takes, what memory they need, what a tick costs'
	@echo 'make bench-report    time, size and memory of the report of 10 minutes of 16 flows, and of ten scenarios'
	@echo 'make bench-compare   how long comparison and history take'
	@echo 'make bench-diagnose  how long a million events and a usual record take to be diagnosed'
	@echo 'make error-rates     false and missed decisions on simulated noise, as a table'
	@echo 'make fit-diagnosis   fit the numbers of the diagnosis on runs with known faults (BENCH="--runs FILE")'
	@echo 'make report-diagnosis  how good the diagnosis is on faults that it was not fitted on (BENCH="--runs FILE")'
	@echo 'make pages           renew the parts of docs/ that are made from the rules'
	@echo 'make dashboards      renew dashboards/*.json from their source'
	@echo 'make kills           kill perfcheck 200 times at random moments and count what is left (half an hour)'
	@echo 'make campaign        count false and missed decisions on this machine (more than an hour; BENCH="--set parts")'
	@echo 'make campaign-faults measure the fault matrix, run by run (hours; resumable; CAMPAIGN="--count 50")'
	@echo 'make campaign-confirm test the true cause and a wrong one of each injector (an hour; resumable)'
	@echo 'make campaign-chains compare chains with the injected order (half an hour; resumable; CAMPAIGN="--report")'

setup:
	@VENV=$(VENV) .ci/setup

lock:
	@.ci/lock $(LOCK)

distros:
	@DISTROS="$(DISTROS)" TARGETS="$(TARGETS)" /usr/bin/python3 tests/distros/distros.py

demo: setup
	$(PYTEST) $(DEMO) --baseline -q -p no:cacheprovider

test: setup test-tools
	@MAKE="$(MAKE)" .ci/parts lint types unit plugin xdist beside kernel

lint: setup part-lint part-types

unit: setup test-tools part-unit part-plugin part-xdist

kernel: setup test-tools part-beside part-kernel

# Some kernel tests boot guests, or reach machines over ssh.
test-tools:
	@VM=1 TESTS=1 VENV=$(VENV) .ci/setup

part-lint:
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

part-types:
	$(VENV)/bin/mypy --num-workers 2

part-unit:
	$(UNIT) -n 2 tests/unit

part-plugin:
	$(UNIT) -n 2 tests/plugin --ignore=$(WORKERS)

part-xdist:
	$(UNIT) $(WORKERS)

# A module at a time: its tests share what they set up.
part-beside:
	PERFCHECK_REQUIRE_KERNEL=1 $(UNIT) -n 2 --dist loadfile -m beside tests/kernel --durations=5

# Nothing may run beside the other kernel tests.
part-kernel:
	PERFCHECK_REQUIRE_KERNEL=1 $(UNIT) -m 'not beside' tests/kernel $(addprefix --ignore=,$(GUESTS)) --durations=10

# Whole comparisons, whole scenarios with all layers, and tests of what only another kernel has take minutes in guests.
guests: setup test-tools
	PERFCHECK_REQUIRE_KERNEL=1 $(UNIT) $(GUESTS)

vm: setup test-tools
	$(PYTHON) tests/vm/guest.py --release $(RELEASE) -- sh -c '$(VM_PYTEST) $(VM_FIRST) && \
		modprobe -a $(VM_MODULES) && $(VM_PYTEST) $(VM_TESTS)'

baselines: setup
	$(PYTEST) scenarios/ --baseline-save -q

bench: setup
	$(PYTHON) tests/bench/bench_setup.py

bench-links: setup
	$(BENCH_PYTHON) tests/bench/bench_links.py $(BENCH)

bench-overhead: setup
	@BENCH_TOOLS=1 VENV=$(VENV) .ci/setup
	$(BENCH_PYTHON) tests/bench/bench_core.py $(BENCH)

bench-perfctl: setup
	@BENCH_TOOLS=1 VENV=$(VENV) .ci/setup
	$(BENCH_PYTHON) tests/bench/perfctl_overhead.py $(BENCH)
	$(BENCH_PYTHON) tests/bench/perfctl_filters.py
	$(BENCH_PYTHON) tests/bench/perfctl_many_flows.py

bench-screen: setup
	$(BENCH_PYTHON) tests/bench/screen_cost.py $(BENCH)

bench-prometheus: setup
	$(PYTHON) tests/bench/prometheus_scrape.py $(BENCH)
	$(BENCH_PYTHON) tests/bench/perfctl_many_flows.py --scrape
	$(BENCH_PYTHON) tests/bench/perfctl_many_flows.py --scrape -- --labels connection

bench-detail: setup
	$(BENCH_PYTHON) tests/bench/bench_detail.py

bench-series: setup
	$(PYTHON) tests/bench/bench_series.py
	$(BENCH_PYTHON) tests/bench/bench_sampling.py

bench-report: setup
	$(PYTHON) tests/bench/bench_report.py

bench-compare: setup
	$(PYTHON) tests/bench/bench_compare.py

bench-diagnose: setup
	$(PYTHON) tests/bench/bench_diagnose.py

error-rates: setup
	@$(PYTHON) tests/unit/decision_errors.py

campaign: setup
	$(PYTHON) tests/bench/campaign.py $(BENCH)

campaign-faults: setup
	$(PYTHON) tests/bench/fault_campaign.py $(CAMPAIGN)

campaign-confirm: setup
	$(PYTHON) tests/bench/fault_confirm.py $(CAMPAIGN)

campaign-chains: setup
	$(PYTHON) tests/bench/fault_chains.py $(CAMPAIGN)

fit-diagnosis: setup
	$(BENCH_PYTHON) tests/bench/fit_diagnosis.py $(BENCH)

report-diagnosis: setup
	$(PYTHON) tests/bench/report_diagnosis.py $(BENCH)

docs: setup
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	@echo 'open build/site/index.html'

pages: setup
	$(BENCH_PYTHON) tests/bench/pages.py

dashboards: setup
	$(PYTHON) dashboards/source/make_dashboards.py

kills: setup
	$(BENCH_PYTHON) tests/bench/kill_campaign.py $(BENCH)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
