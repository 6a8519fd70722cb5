"""Clients behind a VLAN tag: the tag comes in, stays off the backends' side, and goes back out."""
import pytest

from balancer import backends, serving, url
from direct import EACH, DirectSetup, each_id
from lab import VIP4, VIP6, run
from peers import HTTP_PORT, Load, ask, blob, curl, who


@pytest.fixture(scope="module")
def net():
    with serving(backends=2) as made:
        made.tagged = tagged_client(made)
        made.loom.config["ebpf"]["xdp"]["interface"].append("lb2")
        made.loom.config["services"].append({"name": "kept", "addresses": [VIP4, VIP6], "protocol": "tcp",
                                             "ports": [88], "nat": "destination",
                                             "backends": backends(made.hosts, HTTP_PORT)})
        made.reset()
        yield made


def tagged_client(net):
    """A client on lb2, behind something that tags; see vlan_tag.bpf.c."""
    lab, lb = net.lab, net.lb
    client, tagger = lab.namespace("tagged"), lab.namespace("tagger")
    lab.pair(client, "c0", tagger, "access")
    lab.pair(tagger, "trunk", lb, "lb2")
    lab.host_end(client, "c0")
    pins = lab.bpf / "vlan"
    run("bpftool", "prog", "loadall", lab.compile("vlan_tag"), pins, "pinmaps", pins)
    for slot, port in enumerate(("access", "trunk")):
        tagger.ip(f"link set dev {port} xdpdrv pinned {pins}/from_{port}")
        with tagger.entered():
            index = int(run("ip", "-o", "link", "show", port).stdout.partition(":")[0])
        run("bpftool", "map", "update", "pinned", pins / "ports", "key", slot, 0, 0, 0, "value", index, 0, 0, 0)
    # The balancer's kernel has no VLAN device to answer ARP on; both ends are told.
    client.ip("addr add 10.97.0.2/24 dev c0\naddr add fd97::2/64 dev c0 nodad\n"
              f"neigh add 10.97.0.1 lladdr {lb.mac('lb2')} dev c0\nneigh add fd97::1 lladdr {lb.mac('lb2')} dev c0\n"
              "route add default via 10.97.0.1\nroute add default via fd97::1")
    # Who replies with the client's address kept must find the way to the balancer; the balancer sends by what it saw.
    return client


@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_a_tagged_client_is_served(net, vip, tmp_path):
    assert {who(net.tagged, vip, 80)[0] for _ in range(20)} == {"b1", "b2"}
    curl(net.tagged, url(vip, "/blob"), "-o", tmp_path / "tagged")
    assert (tmp_path / "tagged").read_bytes() == blob()
    assert who(net.tagged, vip, 88)[1] == ("10.97.0.2" if vip == VIP4 else "fd97::2")
    with net.tagged.datagram(family=2 if vip == VIP4 else 10) as sock:
        sock.connect((vip, 53))
        assert ask(sock, (vip, 53)) in ("b1", "b2")


def test_tagged_and_untagged_clients_are_served_side_by_side(net):
    with Load(net.tagged, VIP4, 80, rate=300) as tagged, Load(net.client, VIP4, 80, rate=300) as plain:
        tagged.more(150)
        plain.more(150)
    assert tagged.failures() == [] and plain.failures() == []


@pytest.fixture(scope="module")
def direct():
    """Nothing has room for a tunnel, so that the tagged client must hear of it."""
    with serving(DirectSetup, count=2, mtu=1500) as made:
        made.tagged = tagged_client(made)
        made.lab.pair(made.tagged, "d0", made.topo.switch, "pd1")
        made.topo.switch.ip("link set dev pd1 master br1")
        made.tagged.run("ethtool", "-K", "d0", "tx", "off", "gro", "off")
        made.tagged.ip("addr add 10.8.0.3/24 dev d0\naddr add fd08::3/64 dev d0 nodad")
        for which in ("all", "c0", "d0"):
            made.tagged.sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
        for host in made.hosts:
            host.ip("route add 10.97.0.0/24 via 10.8.0.3\nroute add fd97::/64 via fd08::3")
        made.loom.config["ebpf"]["xdp"]["interface"].append("lb2")
        made.reset()
        yield made


@pytest.mark.parametrize("mode, vip", EACH, ids=each_id)
def test_a_tagged_client_is_served_directly(direct, mode, vip, tmp_path):
    net = direct
    answers = [who(net.tagged, vip, HTTP_PORT) for _ in range(20)]
    assert {name for name, _, _ in answers} == {"b1", "b2"}
    assert {address for _, address, _ in answers} == {"fd97::2" if ":" in vip else "10.97.0.2"}
    (tmp_path / "up").write_bytes(blob())
    for which in ("-4", "-6"):
        net.tagged.run("ip", which, "route", "flush", "cache")
    before = net.loom.count("too_big")
    curl(net.tagged, url(vip, f"/put/{mode}", HTTP_PORT), "-T", tmp_path / "up", timeout=10)
    curl(net.tagged, url(vip, "/blob", HTTP_PORT), "-o", tmp_path / "down", timeout=10)
    assert (tmp_path / "down").read_bytes() == blob()
    assert [(server.files / "put" / mode).read_bytes() == blob() for server in net.nginx.values()
            if (server.files / "put" / mode).exists()].count(False) == 0
    assert (net.loom.count("too_big") > before) == (mode != "none")
