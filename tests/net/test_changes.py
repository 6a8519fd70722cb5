"""The network around the balancer changes: addresses, neighbours, routes, links."""
import pytest

from balancer import serving
from lab import VIP4, VIP6, until
from peers import HTTP_PORT, Load, who


@pytest.fixture(scope="module")
def net():
    with serving(backends=2, dns_servers=False) as made:
        yield made


@pytest.fixture(autouse=True)
def settled(net):
    yield
    net.reset()


@pytest.mark.parametrize("vip,family", [(VIP4, 4), (VIP6, 6)], ids=["ipv4", "ipv6"])
def test_a_backend_changes_its_link_layer_address_under_load(net, vip, family):
    host = net.hosts[0]
    with Load(net.client, vip, 80) as load:
        new = f"02:00:00:00:{family:02x}:99"
        host.ip(f"link set dev e0 address {new}")
        until("the new address", lambda: net.loom.backend(host, family=family)["next_hop"]["mac"] == new)
        load.more(400)
    assert load.failures() == []
    assert set(load.by_backend()) == {"b1", "b2"}


@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_a_neighbour_entry_is_deleted_under_load(net, vip):
    with Load(net.client, vip, 80) as load:
        for host in net.hosts * 3:
            address = host.address4 if vip == VIP4 else host.address6
            net.lb.ip(f"neigh del {address} dev lb1")
            load.more(60)
        net.lb.run("ip", "neigh", "flush", "dev", "lb0")
        load.more(100)
    assert load.failures() == []


def test_a_backends_link_goes_down_and_up_again_under_load(net):
    # So many threads that some always have a connection to the other backend.
    with Load(net.client, VIP4, 80, threads=32) as load:
        net.topo.switch.ip("link set dev p1 down")
        load.more(20)
        net.topo.switch.ip("link set dev p1 up")
        load.more(300)
    # TCP sends again what was lost meanwhile: nobody gave up.
    assert load.failures() == []
    assert set(load.by_backend()) == {"b1", "b2"}


def test_the_balancers_own_link_goes_down_and_up_again(net):
    for key in ("all", "lb1"):
        net.lb.sysctl(f"net/ipv6/conf/{key}/keep_addr_on_down", 1)
    with Load(net.client, VIP4, 80) as load:
        net.lb.ip("link set dev lb1 down\nlink set dev lb1 up")
        load.more(300)
    assert load.failures() == []
    assert {who(net.client, VIP6, 80)[0] for _ in range(20)} == {"b1", "b2"}


def test_the_route_to_a_backend_moves_to_another_gateway(net):
    for host in net.hosts:
        host.ip("addr add 10.2.0.5/32 dev lo")
    net.lb.ip(f"route add 10.2.0.5 via {net.hosts[0].address4}")
    net.loom.config["services"].append({"name": "far", "addresses": [VIP4], "protocol": "tcp", "ports": [81],
                                        "backends": [{"address": "10.2.0.5", "port": HTTP_PORT}]})
    net.reset()
    try:
        assert {who(net.client, VIP4, 81)[0] for _ in range(5)} == {"b1"}
        net.lb.ip(f"route replace 10.2.0.5 via {net.hosts[1].address4}")
        mac = net.hosts[1].mac("e0")
        until("the new gateway", lambda: any(
            row["address"] == "10.2.0.5" and row["next_hop"]["mac"] == mac
            for row in net.loom.api("GET", "/ebpf/backends")["backends"]))
        assert {who(net.client, VIP4, 81)[0] for _ in range(5)} == {"b2"}

        net.lb.ip("route del 10.2.0.5\nroute add unreachable 10.2.0.5")
        until("nobody to send to", lambda: any(
            row["address"] == "10.2.0.5" and row["next_hop"]["state"] == "unreachable"
            for row in net.loom.api("GET", "/ebpf/backends")["backends"]))
        with pytest.raises(OSError):
            net.client.connect(VIP4, 81, timeout=0.5)
        assert any(reason in ("no_route", "no_neighbour") and row["packets"]
                   for reason, row in net.loom.api("GET", "/ebpf/stats")["reasons"].items())
    finally:
        net.loom.config["services"].pop()
        net.lb.run("ip", "route", "flush", "10.2.0.5", check=False)


def test_a_backend_that_is_not_there_yet_is_found_when_it_comes(net):
    net.loom.api("POST", "/ebpf/backends", {"address": "10.1.0.19", "port": HTTP_PORT, "weight": 0})
    row = next(b for b in net.loom.api("GET", "/ebpf/backends")["backends"] if b["address"] == "10.1.0.19")
    assert row["next_hop"]["state"] in ("resolving", "unreachable")
    net.hosts[0].ip("addr add 10.1.0.19/24 dev e0")
    until("the newcomer", lambda: next(
        b for b in net.loom.api("GET", "/ebpf/backends")["backends"]
        if b["address"] == "10.1.0.19")["next_hop"]["state"] == "resolved")
    net.hosts[0].ip("addr del 10.1.0.19/24 dev e0")


def interfaces(net):
    return [row["name"] for row in net.loom.api("GET", "/ebpf/stats")["interfaces"]]


def test_an_interface_is_deleted_and_made_anew(net):
    """The other one is known meanwhile, and what is wrong is said once, not with every link that comes or goes."""
    seen = len(net.loom.process.lines)
    net.lb.ip("link del lb0")
    net.loom.process.wait_line("cannot attach to lb0", start=seen)
    for _ in range(5):
        net.lb.ip("link add d0 type veth peer name d1\nlink del d0")
    until("the one that stands", lambda: interfaces(net) == ["lb1"])
    net.lab.pair(net.lb, "lb0", net.client, "c0")
    net.lab.host_end(net.client, "c0")
    net.lb.ip("addr add 10.9.0.1/24 dev lb0\naddr add fd09::1/64 dev lb0 nodad")
    net.client.ip("addr add 10.9.0.2/24 dev c0\naddr add fd09::2/64 dev c0 nodad\n"
                  "route add default via 10.9.0.1\nroute add default via fd09::1")
    until("both", lambda: interfaces(net) == ["lb0", "lb1"])
    assert {who(net.client, VIP4, 80)[0] for _ in range(20)} == {"b1", "b2"}
    said = [line for line in net.loom.process.lines[seen:] if "cannot attach to lb0" in line]
    assert len(said) == 1, said
