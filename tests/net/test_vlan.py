"""Clients behind a VLAN tag: the tag comes in, stays off the backends' side, and goes back out."""
import pytest

from balancer import backends, serving, url
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
