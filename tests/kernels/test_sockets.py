"""Sockets of other kernels: what sock_diag, /proc and the socket iterators say of them."""
import os
import pathlib
import re

import pytest

from lab import run

BUILD = pathlib.Path(os.environ["LOOM_BUILD"])
TESTS = ["unit/sys/test_sys_netns", "unit/sys/test_sys_pidfd", "unit/sys/test_sys_sock_owners",
         "unit/sys/test_sys_sock_diag", "unit/planes/steer/test_steer_truth", "unit/planes/steer/test_steer_probe"]


@pytest.mark.parametrize("name", TESTS, ids=lambda name: name.rpartition("/")[2])
def test_sockets(name):
    done = run(BUILD / "tests" / name, timeout=600, check=False)
    said = done.stdout + done.stderr
    failed = re.findall(r"^\[  FAILED  \] (.+)$", said, re.M)
    assert not failed and done.returncode == 0, said[-6000:]
    assert re.search(r"\[  PASSED  \]", said)
