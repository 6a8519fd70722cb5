"""least_connections: who has fewer connections gets more of the new ones, as the last sweep counted them."""
import pytest

from balancer import serving
from lab import VIP4, until
from peers import Load


@pytest.fixture(scope="module")
def net():
    with serving(dns_servers=False) as made:
        yield made


def shares(net, requests=300):
    with Load(net.client, VIP4, 80, "short", threads=4, rate=0) as load:
        load.more(requests)
    assert load.failures() == []
    total = sum(load.by_backend().values())
    return {name: load.by_backend().get(name, 0) / total for name in ("b1", "b2", "b3")}


def test_a_backend_with_many_connections_gets_few_new_ones(net):
    net.loom.config["ebpf"]["conntrack"] = {"sweep_interval": "1s"}
    net.loom.config["services"][0]["algorithm"] = "least_connections"
    net.reset()
    assert min(shares(net).values()) > 0.2
    # While the others drain, all connections go to one.
    others = [net.loom.backend(host) for host in net.hosts[1:]]
    for row in others:
        net.loom.cli("backends", "drain", row["id"])
    with Load(net.client, VIP4, 80, "keep", threads=40, rate=200) as load:
        load.more(200)
        for row in others:
            net.loom.cli("backends", "undrain", row["id"])
        until("the sweep counts them", lambda: net.loom.backend(net.hosts[0])["connections_active"] >= 40)
        until("few go to b1", lambda: shares(net)["b1"] < 0.15)
    until("all are alike again", lambda: min(shares(net).values()) > 0.2, 30)
    assert load.failures() == []
