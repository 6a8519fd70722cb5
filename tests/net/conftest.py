"""Labs are built once per module; a failed test shows what the programs in its lab said."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import lab as lab_module  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds; 'tools/test' runs it, a quick look does not")


def pytest_sessionstart(session):
    if os.geteuid() != 0:
        pytest.exit("cannot make network namespaces as this user; run the tests as root", 2)
    lab_module.reap()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    topo = getattr(item, "funcargs", {}).get("net") or getattr(item, "funcargs", {}).get("topo")
    if report.failed and topo is not None:
        report.sections.append(("programs of the lab", topo.lab.logs()))
