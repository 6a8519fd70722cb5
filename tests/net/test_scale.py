"""Many services and backends: that a removal is one, and that tables change only as they must.

bench/run --only scale measures 1,000 services of 10 backends."""
import collections
import json
import re

import pytest

from balancer import Loom, UnixConnection
from lab import Lab, Topology, run, until
from peers import HTTP_PORT, Nginx

SERVICES, EACH = 200, 10
SYNS = 300
SMALL, SLOTS = 11, 1021   # a service whose table is quickly read


def vip(service):
    return f"10.128.{service // 250}.{service % 250 + 1}"


def backend(service, number):
    return f"10.64.{service // 25}.{service % 25 * EACH + number + 1}"


def configuration():
    return [{"name": f"s{s}", "addresses": [vip(s)], "protocol": "tcp", "ports": [80], "nat": "full",
             "maglev_table_size": SLOTS if s == SMALL else 65537,
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
        self.loom.start()
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


def little(data):
    return int.from_bytes(bytes(int(byte, 16) for byte in data), "little")


def tables(net):
    """The ids of the slot tables, by row."""
    return {little(row["key"]): little(row["value"]) for row in net.loom.map_dump("lb_tables")}


def small_table(net):
    """Id of the one table that is small."""
    every = json.loads(run("bpftool", "-j", "map", "list").stdout)
    sizes = {row["id"]: row["max_entries"] for row in every if row.get("max_entries")}
    found = [number for number in tables(net).values() if sizes.get(number) == SLOTS]
    assert len(found) == 1
    return found[0]


def slots(number):
    """How many slots each backend's row has."""
    return collections.Counter(little(row["value"]) for row in
                               json.loads(run("bpftool", "-j", "map", "dump", "id", str(number)).stdout))


def test_a_table_is_replaced_only_when_a_backend_leaves_it(net):
    was, number = tables(net), small_table(net)
    even = slots(number)
    assert len(was) == SERVICES and len(even) == EACH and sum(even.values()) == SLOTS
    net.api("PATCH", f"/ebpf/backends/{SMALL * EACH + 1}", {"weight": 300})
    assert max(slots(number).values()) > 2 * max(even.values())
    new = json.loads(net.api("POST", "/ebpf/backends", {"service": f"s{SMALL}", "address": "10.64.200.1", "port": HTTP_PORT}))
    assert len(slots(number)) == EACH + 1
    assert tables(net) == was
    net.api("DELETE", f"/ebpf/backends/{new['id']}")
    assert small_table(net) != number
    assert len(slots(small_table(net))) == EACH
    assert sum(tables(net)[row] != was[row] for row in was) == 1
