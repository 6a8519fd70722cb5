"""Checks that go through the tunnel find what checks of a backend's own address cannot: one that does not unwrap."""
import pytest

from balancer import Loom, backends
from decap import Decap
from lab import VIP4, VIP6, Lab, Topology, until
from peers import Nginx


@pytest.fixture(scope="module", params=["ipip", "gue"])
def net(request):
    """Two backends behind tunnels, each with the service's addresses on lo; the balancer has them, too."""
    with Lab() as lab:
        topo = Topology(lab, 2)
        topo.lab.encap = request.param
        for host in topo.backends:
            host.ip(f"addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo")
            for key, value in (("rp_filter", 0), ("arp_ignore", 1), ("arp_announce", 2)):
                for which in ("all", "e0"):
                    host.sysctl(f"net/ipv4/conf/{which}/{key}", value)
            Nginx(host, 80)
            host.decap = Decap(host, "e0", [VIP4, VIP6]).start()
        topo.loom = Loom(topo, [{"name": "web", "addresses": [VIP4, VIP6], "protocol": "tcp", "ports": [80],
                                 "mode": "dsr", "encap": request.param, "backends": backends(topo.backends, 80),
                                 "health": {"upstream": "probe"}}])
        topo.loom.config["upstreams"] = [{"name": "probe", "check": {
            "type": "tcp", "through": "tunnel", "interval": "100ms", "timeout": "500ms", "rise": 2, "fall": 2,
            "flap_window": "0s"}}]
        topo.loom.write()
        topo.loom.start()
        yield topo


def states(net):
    return {row["address"]: row["state"] for row in net.loom.api("GET", "/ebpf/health")["backends"]}


def all_are(net, state, *hosts):
    return lambda: {states(net)[address] for host in hosts for address in (host.address4, host.address6)} == {state}


def test_a_backend_that_stops_unwrapping_is_out(net):
    first, second = net.backends
    until("both healthy", all_are(net, "healthy", first, second))
    first.decap.detach()
    until("the first is out", all_are(net, "unhealthy", first))
    assert all_are(net, "healthy", second)()
    assert any("no answer" in (row["last_error"] or "") for row in net.loom.api("GET", "/ebpf/health")["backends"])
    first.decap.start()
    until("the first is back", all_are(net, "healthy", first))


def test_a_server_that_does_not_serve_the_address_is_out(net):
    first, second = net.backends
    until("both healthy", all_are(net, "healthy", first, second))
    first.run("ip", "addr", "del", f"{VIP4}/32", "dev", "lo")
    until("it is out", lambda: states(net)[first.address4] == "unhealthy")
    assert states(net)[first.address6] == "healthy"
    first.ip(f"addr add {VIP4}/32 dev lo")
    until("it is back", all_are(net, "healthy", first))
