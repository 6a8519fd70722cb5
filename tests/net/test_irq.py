"""loom irq on a real interface: a veth, which has queues and no interrupts."""
import json
import os

import pytest

from balancer import BUILD
from lab import Lab, run

CPUS = sorted(os.sched_getaffinity(0))
QUEUES = "/sys/class/net/many/queues"


@pytest.fixture
def host():
    """A namespace with a veth of two queues each way; writes reach its own /sys only."""
    with Lab() as lab:
        host = lab.namespace("host")
        run("ip", "link", "add", "many", "netns", host.name, "numtxqueues", "2", "numrxqueues", "2", "type", "veth",
            "peer", "name", "other", "netns", host.name, "numtxqueues", "2", "numrxqueues", "2")
        yield host


def irq(host, *argv, check=True):
    return host.run(BUILD / "loom", "irq", *argv, "--iface", "many", check=check)


def value(host, file):
    return int(host.run("cat", f"{QUEUES}/{file}").stdout.replace(",", ""), 16)


def test_a_plan_is_applied_to_the_queues_and_shown(host):
    first = CPUS[0]
    planned = json.loads(irq(host, "plan", "--json", "--cpus", str(first)).stdout)
    assert not planned["has_interrupts"]
    assert {f["path"] for f in planned["files"]} == {f"{QUEUES}/{f}" for f in (
        "rx-0/rps_cpus", "rx-1/rps_cpus", "tx-0/xps_cpus", "tx-1/xps_cpus")}
    irq(host, "apply", "--cpus", str(first))
    for queue in (0, 1):
        assert value(host, f"tx-{queue}/xps_cpus") == 1 << first
        assert value(host, f"rx-{queue}/rps_cpus") == 0
    assert "0 to write, 4 as planned already" in irq(host, "plan", "--cpus", str(first)).stdout
    shown = json.loads(irq(host, "show", "--json").stdout)
    assert [m["cpus"] for m in shown["masks"] if m["kind"] == "xps"] == [[first], [first]]


@pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")
def test_queues_are_spread_over_the_cpus(host):
    irq(host, "apply", "--cpus", f"{CPUS[0]},{CPUS[1]}")
    assert [value(host, f"tx-{queue}/xps_cpus") for queue in (0, 1)] == [1 << CPUS[0], 1 << CPUS[1]]


def test_what_sys_refuses_changes_nothing(host):
    before = irq(host, "show", "--json").stdout
    done = host.run("sh", "-c", f"mount -o remount,ro /sys && exec {BUILD}/loom irq apply --iface many", check=False)
    assert done.returncode == 1
    assert "cannot open /sys/class/net/many/queues" in done.stderr and "mount /sys writable" in done.stderr
    assert json.loads(irq(host, "show", "--json").stdout)["masks"] == json.loads(before)["masks"]
