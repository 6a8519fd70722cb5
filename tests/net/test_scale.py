"""10,000 backends in 1,000 services: how long a start and a change take, and that a removal is one."""
import json
import re
import time

import pytest

from balancer import Loom, UnixConnection
from lab import Lab, Topology, until
from peers import HTTP_PORT, Nginx

SERVICES, EACH = 1000, 10
PATCHES = 200
SYNS = 300


def vip(service):
    return f"10.128.{service // 250}.{service % 250 + 1}"


def backend(service, number):
    return f"10.64.{service // 25}.{service % 25 * EACH + number + 1}"


def configuration():
    return [{"name": f"s{s}", "addresses": [vip(s)], "protocol": "tcp", "ports": [80], "nat": "full",
             "backends": [{"id": s * EACH + n + 1, "address": backend(s, n), "port": HTTP_PORT} for n in range(EACH)]}
            for s in range(SERVICES)]


class Scale:
    """All backends' addresses are one host's, behind one gateway."""

    def __init__(self, lab):
        self.lab = lab
        self.topo = Topology(lab, 1)
        self.client, self.host = self.topo.client, self.topo.backends[0]
        self.host.ip("route add local 10.64.0.0/16 dev lo")
        self.topo.lb.ip(f"route add 10.64.0.0/16 via {self.host.address4}")
        Nginx(self.host)
        self.loom = Loom(self.topo, configuration(), maps={"backends": {"max_entries": SERVICES * EACH + 100}})
        begun = time.monotonic()
        self.loom.start()
        self.start_s = time.monotonic() - begun
        self.connection = UnixConnection(self.loom.socket, 30)

    def api(self, method, path, body=None):
        self.connection.request(method, path, body and json.dumps(body))
        answer = self.connection.getresponse()
        data = answer.read()
        assert answer.status < 300, data
        return data

    def connect(self, address, count):
        """That many connections, one after the other, each ended at once."""
        for _ in range(count):
            self.client.connect(address, 80).close()


@pytest.fixture(scope="module")
def net():
    with Lab() as lab:
        yield Scale(lab)


@pytest.fixture
def syns(net):
    """Counts the SYNs that reach one address, at its host."""
    address = backend(7, 3)
    net.host.run("nft", "-f", "-", text="table ip scale {\nchain in {\ntype filter hook prerouting priority -300;\n"
                 f"ip daddr {address} tcp flags & (syn | ack) == syn counter\n}}\n}}\n")
    yield lambda: int(re.search(r"packets (\d+)", net.host.run("nft", "list", "table", "ip", "scale").stdout).group(1))
    net.host.run("nft", "delete", "table", "ip", "scale")


def test_no_new_connection_reaches_a_backend_after_its_removal_was_answered(net, syns):
    until("next hops of all backends", lambda: all(
        row["next_hop"]["state"] == "resolved" for row in json.loads(net.api("GET", "/ebpf/backends"))["backends"]))
    net.connect(vip(7), SYNS)
    before = syns()
    assert before > 0, "the backend never had a connection"
    net.api("DELETE", f"/ebpf/backends/{7 * EACH + 3 + 1}")
    net.connect(vip(7), SYNS)
    assert syns() == before


def test_changes_do_not_wait_for_what_they_do_not_touch(net):
    took = []
    for i in range(PATCHES):
        begun = time.monotonic()
        net.api("PATCH", f"/ebpf/backends/{i * 37 % 5000 + 1001}", {"weight": 2 + i})
        took.append(time.monotonic() - begun)
    took.sort()
    print(f"\n{SERVICES} services, {SERVICES * EACH} backends: start {net.start_s:.2f} s; PATCH weight: "
          f"median {took[len(took) // 2] * 1e3:.2f} ms, p99 {took[-len(took) // 100] * 1e3:.2f} ms, "
          f"{len(took) / sum(took):.0f}/s")
