"""What Loom says that this kernel can do: what it lacks, and nothing else."""
import json

import pytest

from balancer import BUILD
from steering import READS_GROUP, SteerLoom, group, steer_lab

LACKS = set() if READS_GROUP else {"read_group", "least_loaded"}
WHY = "bpf_rdonly_cast (Linux 6.2)"


@pytest.fixture(scope="module", name="loom")
def _loom():
    with steer_lab() as net, net.python("udp", 2), SteerLoom(net, [group(members=[{"any": True}])]) as loom:
        loom.settled(2)
        yield loom


def test_capabilities(loom):
    print(loom.steer("capabilities").stdout)
    can = loom.api("GET", "/steer/capabilities")["capabilities"]
    for name, found in {**can["policies"], **can["features"]}.items():
        assert found["probed"] and (found["possible"], found["missing"]) == (
            (False, WHY) if name in LACKS else (True, None)), (name, found)
    assert loom.group()["exact"] == (not LACKS)


def test_doctor(loom):
    said = loom.net.host.run(BUILD / "loom", "--socket", loom.socket, "doctor", "--json", check=False)
    found = json.loads(said.stdout)
    print(loom.net.host.run(BUILD / "loom", "--socket", loom.socket, "doctor", check=False).stdout)
    wrong = {row["subject"].split()[1] for row in found if row["check"] == "steering" and row["severity"] != "ok"}
    assert wrong == LACKS, found
    assert all(WHY in row["finding"] for row in found if row["check"] == "steering" and row["severity"] != "ok")
    assert not [row for row in found if row["subject"] == "kernel" and row["severity"] != "ok"], found


@pytest.mark.skipif(READS_GROUP, reason="needs a kernel without bpf_rdonly_cast (before Linux 6.2)")
def test_what_it_lacks_cannot_be_armed_and_says_why(loom):
    loom.settled(2)
    loom.rollout("enforced")
    status, answer = loom.raw("POST", "/steer/groups/g/policy", '{"name": "least_loaded"}')
    assert status >= 400 and WHY in answer.decode(), answer
    assert loom.group()["policy"] == "hash"
