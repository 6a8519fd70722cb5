"""Direct server return to backends that are not Loom's: the kernel's own ipip, ip6_tunnel and fou modules unwrap what
the balancer sends, and the servers answer the clients directly.

The balancer has one arm.  Every backend has an address beside the client's too, so that answers take no detour, and
the service's addresses on lo."""
import socket
import struct

import pytest

from balancer import BUILD, Loom, url
from lab import Lab, Topology, VIP4, VIP6, family_of, run, until
from peers import Nginx, UdpEcho, blob, curl, who

WEB, ECHO, GUE = 8080, 5353, 6080
CLIENT4, CLIENT6 = "10.9.0.2", "fd09::2"
# The address that is asked, and the family of the backends' addresses.
PATHS = [(VIP4, 4), (VIP6, 6), (VIP4, 6)]
PATH_NAMES = ["ipv4-in-ipv4", "ipv6-in-ipv6", "ipv4-in-ipv6"]
paths = pytest.mark.parametrize("vip,outer", PATHS, ids=PATH_NAMES)
ENCAPS = ["ipip", "gue"]
NO_CHECK4 = socket.SOL_SOCKET, 11  # SO_NO_CHECK
NO_CHECK6 = socket.IPPROTO_UDP, 101  # UDP_NO_CHECK6_TX


def real_server(host, number):
    """What an administrator configures on a backend, with the kernel's modules alone."""
    for module in ("ipip", "ip6_tunnel", "fou"):
        run("modprobe", module)
    # tunl0 and ip6tnl0 come with the modules in every namespace.
    host.ip("link set tunl0 up\nlink set ip6tnl0 up\n"
            f"fou add port {GUE} gue\nfou add port {GUE} gue -6\n"
            f"addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"
            f"addr add 10.9.0.1{number}/24 dev e0\naddr add fd09::1{number}/64 dev e0 nodad")
    # It takes IPv6 alone by default.
    host.run("ip", "-6", "tunnel", "change", "ip6tnl0", "mode", "any")
    for which in ("all", "tunl0", "ip6tnl0"):
        host.sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
    # The service's address is the balancer's alone where neighbours are asked for.
    host.sysctl("net/ipv4/conf/all/arp_ignore", 1)
    host.sysctl("net/ipv4/conf/all/arp_announce", 2)


class Farm:
    """The topology with its servers.  Who answers by UDP is the echo's name."""

    def __init__(self, lab):
        self.topo = Topology(lab, 2, one_armed=True)
        self.client, self.lb = self.topo.client, self.topo.lb
        for number, host in enumerate(self.topo.backends, 1):
            real_server(host, number)
            Nginx(host, WEB)
            for vip in (VIP4, VIP6):
                UdpEcho(host, vip, ECHO)


@pytest.fixture(scope="module")
def net():
    with Lab() as lab:
        made = Farm(lab)
        made.lab = lab
        yield made


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source, to, payload):
    """A whole IP packet: UDP from and to (address, port)."""
    family = family_of(to[0])
    addresses = socket.inet_pton(family, source[0]) + socket.inet_pton(family, to[0])
    length = 8 + len(payload)
    udp = struct.pack("!4H", source[1], to[1], length, 0) + payload
    sum_of = checksum(addresses + struct.pack("!II", length, socket.IPPROTO_UDP) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", sum_of) + udp[8:]
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_UDP, 63) + addresses + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 63, socket.IPPROTO_UDP, 0)
    return head[:10] + struct.pack("!H", checksum(head + addresses)) + addresses + udp


@pytest.mark.parametrize("encap", ["ipip", "gue", "gue-without-checksum"])
@paths
def test_the_modules_unwrap_what_is_wrapped_by_hand(net, encap, vip, outer):
    """No Loom here: if this fails, it is not to blame."""
    host = net.topo.backends[0]
    to = getattr(host, f"address{outer}")
    with net.client.datagram(CLIENT4 if vip == VIP4 else CLIENT6) as asking:
        source = asking.getsockname()[:2]
        packet = datagram(source, (vip, ECHO), b"wrapped")
        with net.lb.entered():
            if encap == "ipip":
                sender = socket.socket(family_of(to), socket.SOCK_RAW, 4 if vip == VIP4 else 41)
            else:
                sender = socket.socket(family_of(to), socket.SOCK_DGRAM)
        with sender:
            if encap == "gue-without-checksum":
                sender.setsockopt(*(NO_CHECK4 if outer == 4 else NO_CHECK6), 1)
            sender.sendto(packet, (to, 0 if encap == "ipip" else GUE))
        answer, peer = asking.recvfrom(100)
        assert peer[:2] == (vip, ECHO)
        assert answer == f"b1 {source[0]} {source[1]} wrapped".encode()


def service(name, protocol, port, vips, hosts, outer, encap):
    return {"name": name, "addresses": vips, "protocol": protocol, "ports": [port], "mode": "dsr", "encap": encap,
            "backends": [{"address": getattr(host, f"address{family}"), "port": port}
                         for family in outer for host in hosts]}


@pytest.fixture(scope="module", params=[(encap, outer) for encap in ENCAPS for outer in ("same", "ipv6")],
                ids=lambda param: "-".join(param))
def served(request, net):
    """loomd with both services, the backends' addresses of the clients' family or of IPv6 only."""
    encap, outer = request.param
    vips, families = ([VIP4, VIP6], [4, 6]) if outer == "same" else ([VIP4], [6])
    hosts = net.topo.backends
    loom = Loom(net.topo, [service("web", "tcp", WEB, vips, hosts, families, encap),
                           service("echo", "udp", ECHO, vips, hosts, families, encap)]).start()
    until("next hops", lambda: all(
        row["next_hop"]["state"] == "resolved" for row in loom.api("GET", "/ebpf/backends")["backends"]))
    net.vips = vips
    yield loom
    loom.stop()
    loom.detach()
    net.lab.closers.remove(loom.detach)


def test_connections_reach_all_backends_which_see_the_client(net, served):
    for vip in net.vips:
        answers = {who(net.client, vip, WEB)[:2] for _ in range(24)}
        assert answers == {(name, CLIENT4 if vip == VIP4 else CLIENT6) for name in ("b1", "b2")}


def test_a_megabyte_comes_down_unharmed(net, served, tmp_path):
    for vip in net.vips:
        curl(net.client, url(vip, "/blob", WEB), "-o", tmp_path / "blob")
        assert (tmp_path / "blob").read_bytes() == blob()


def test_datagrams_are_answered_by_the_services_address(net, served):
    for vip in net.vips:
        names = set()
        for _ in range(24):
            with net.client.datagram(CLIENT4 if vip == VIP4 else CLIENT6) as asking:
                asking.sendto(b"hello", (vip, ECHO))
                answer, peer = asking.recvfrom(100)
                assert peer[:2] == (vip, ECHO)
                names.add(answer.split()[0])
        assert names == {b"b1", b"b2"}
