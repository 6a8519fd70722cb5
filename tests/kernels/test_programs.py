"""Every BPF program of Loom loads, and does to packets what the packet tests say."""
import os
import pathlib
import re

import pytest

from lab import run

BUILD = pathlib.Path(os.environ["LOOM_BUILD"])
RELEASE = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
BUDGET = pathlib.Path(__file__).resolve().parent.parent / "bpf/verify.budget"


# What is shipped.  The balancer's objects hold programs that are loaded on demand: their specialisations are the next
# test's.
OBJECTS = sorted(path for path in (BUILD / "src").rglob("*.bpf.o") if not path.name.startswith("lb"))


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.name)
def test_loads(path):
    pins = pathlib.Path("/sys/fs/bpf/loads")
    run("bpftool", "prog", "loadall", path, pins, timeout=120)
    for pin in pins.iterdir():
        pin.unlink()
    pins.rmdir()


def test_every_specialisation_loads(tmp_path):
    """How much an older verifier walks through is its own affair: no budget here.  Before Linux 6.8 it judges, and
    keeps, global functions that nobody calls: then no map is required to be absent."""
    budget = tmp_path / "budget"
    budget.write_text(re.sub(r"\b\d+\b(?=\s|$)", "1000000", BUDGET.read_text(encoding="utf-8")), encoding="utf-8")
    done = run(BUILD / "tests/bpf/verify", budget, timeout=2400, check=False)
    said = done.stdout + done.stderr
    print(said)
    names = re.findall(r"^([^#\s]\S*)", budget.read_text(encoding="utf-8"), re.M)
    assert set(names) <= set(re.findall(r"^(\S+) +\d+ +\d+ ", said, re.M)), said
    assert RELEASE < (6, 8) or done.returncode == 0, said


RUNS = [[path] for path in sorted((BUILD / "tests/bpf").glob("test_*"))] + [[BUILD / "tests/bpf/test_lb", "--traced"]]


@pytest.mark.parametrize("argv", RUNS, ids=lambda argv: " ".join([argv[0].name, *argv[1:]]))
def test_packets(argv):
    done = run(*argv, timeout=2400, check=False)
    said = done.stdout + done.stderr
    failed = re.findall(r"^\[  FAILED  \] (.+)$", said, re.M)
    assert not failed and done.returncode == 0, said[-6000:]
    assert re.search(r"\[  PASSED  \]", said)
