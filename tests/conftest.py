# SPDX-License-Identifier: GPL-2.0-or-later
"""
How results are told: a line per test as it ends, what failed at the end, and
as the very last line, alone, the count.  A test's docstring completes the
sentence "This test will ...".
"""

import shutil
from pathlib import Path

import pytest

import named_tests

pytest_plugins = ["host"]

MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}


def _is_controller(config):
    return not hasattr(config, "workerinput")


@pytest.fixture
def tmp_path(tmp_path):
    """Goes with the test: memory and disks of guests are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    about = (item.function.__doc__ or "").strip().split("\n")[0]
    report.user_properties.append(("about", about))


def pytest_configure(config):
    config.counts = {"passed": 0, "failed": 0, "skipped": 0}
    for path in config.args:
        if not Path(path.split("::")[0]).exists():
            raise pytest.UsageError(f"TESTS: {path}: no such file or folder")
    if _is_controller(config):
        config.pluginmanager.register(Lines(config), "result-lines")


def pytest_report_teststatus(report):
    """No dots: the lines below replace them.  A test counts once."""
    if report.passed and report.when != "call":
        return "", "", ""
    return report.outcome, "", ""


class Lines:
    """Prints and counts results, in the process that gathers them."""

    def __init__(self, config):
        self.config = config
        self.broken = set()
        self.passed = set()

    def _outcome(self, report):
        """None for a phase of a test that decides nothing."""
        if report.when == "call" or report.outcome == "skipped":
            return report.outcome
        if report.outcome == "failed":
            return "failed"         # in setting up, or in cleaning up
        return None

    def pytest_runtest_logreport(self, report):
        outcome = self._outcome(report)
        if not outcome:
            return
        if outcome == "failed" and report.nodeid in self.broken:
            return
        if outcome == "failed":
            self.broken.add(report.nodeid)
        if outcome == "passed":
            self.passed.add(named_tests.name_of(report.nodeid))
        self.config.counts[outcome] += 1
        about = dict(report.user_properties).get("about", "")
        name = report.nodeid.removeprefix("tests/").split("@")[0]
        line = f"{MARKS[outcome]} {name} ({report.duration:.1f} s)"
        if outcome == "skipped":
            line += f": {report.longrepr[2]}"
        elif about:
            line += f": {about}"
        self.config.get_terminal_writer().line(line)
        if outcome == "failed":
            self._print_cause(report)

    def _print_cause(self, report):
        """At once: whoever sees a part of a log may not see its end."""
        crash = getattr(report.longrepr, "reprcrash", None)
        for text in (crash.message if crash else "").splitlines()[:3]:
            self.config.get_terminal_writer().line(f"     {text[:300]}")

    def pytest_collectreport(self, report):
        if report.failed:
            self.config.counts["failed"] += 1

    def _ran_all(self):
        return (self.config.args == ["tests"]
                and not self.config.getoption("keyword"))

    def pytest_sessionfinish(self, session):
        """A document may name no test that did not run, or did not pass."""
        if not self._ran_all():
            return
        for document, name in named_tests.all_names():
            if name not in self.passed:
                self.config.counts["failed"] += 1
                session.exitstatus = 1
                self.config.get_terminal_writer().line(
                    f"FAIL {document}: there was no test {name} that passed")


def pytest_unconfigure(config):
    if _is_controller(config):
        counts = config.counts
        print(f"{counts['passed']} passed, {counts['failed']} failed, "
              f"{counts['skipped']} skipped", flush=True)
