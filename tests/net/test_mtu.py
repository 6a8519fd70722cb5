"""Path MTU discovery: where packets do not fit, the sender learns it, and the bodies arrive."""
import contextlib
import socket

import pytest

from balancer import Setup, dns, serving, url, web
from direct import EACH, VIPS, DirectSetup, each_id, set_mtu
from lab import HERE, VIP4, VIP6, family_of, until
from peers import HTTP_PORT, blob, curl

IP_MTU, IPV6_MTU = 14, 24
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
IPV6_MTU_DISCOVER = 23
OVERHEAD = {"ipip": {4: 20, 6: 40}, "gue": {4: 28, 6: 48}, "none": {4: 0, 6: 0}, "4in6": {4: 40}}
both_families = pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
both_nats = pytest.mark.parametrize("nat", ["full", "destination"])


def family(vip):
    return 6 if ":" in vip else 4


def forget(*hosts):
    """What the hosts' kernels learnt about paths."""
    for host in hosts:
        for which in ("-4", "-6"):
            host.run("ip", which, "route", "flush", "cache")


def mtu_of(sock):
    six = sock.family == socket.AF_INET6
    return sock.getsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_MTU if six else IP_MTU)


def put(net, vip, port, tmp_path, name):
    """A megabyte up: how it was stored, by any backend."""
    (tmp_path / "up").write_bytes(blob()[::-1])
    curl(net.client, url(vip, "/put/" + name, port), "-T", tmp_path / "up", timeout=10)
    return [(server.files / "put" / name).read_bytes() == blob()[::-1] for server in net.nginx.values()
            if (server.files / "put" / name).exists()]


def get(net, vip, port, tmp_path):
    curl(net.client, url(vip, "/blob", port), "-o", tmp_path / "down", timeout=10)
    return (tmp_path / "down").read_bytes() == blob()


def learnt(net, vip, port, size):
    """The path MTU that a datagram of so many bytes, too large, teaches the client."""
    with net.client.datagram(family=family_of(vip)) as sock:
        if family(vip) == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        sock.connect((vip, port))

        def smaller():
            with contextlib.suppress(OSError):
                sock.send(bytes(size - (48 if family(vip) == 6 else 28)))
            return mtu_of(sock) < size and mtu_of(sock)

        return until("the path MTU is learnt", smaller)


def boast(host, interface, net4, net6, gateway4, gateway6):
    """The host announces the segment size of 1500: it does not know its own network's MTU any better than the client."""
    host.ip(f"route replace {net4} dev {interface} advmss 1460\n"
            f"route replace {net6} dev {interface} metric 256 advmss 1440\n"
            f"route replace default via {gateway4} advmss 1460\nroute replace default via {gateway6} advmss 1440")


# ---- NAT: the backends' network carries less ----

class Narrow(Setup):
    """Two backends whose network carries 1400 bytes, and both kinds of NAT side by side."""

    def __init__(self, lab, **more):
        super().__init__(lab, backends=2, **more)
        set_mtu(self.topo, 1400)
        for host in self.hosts:
            boast(host, "e0", "10.1.0.0/24", "fd01::/64", "10.1.0.1", "fd01::1")
        self.loom.config["services"] = [
            web(self.hosts, "full"), web(self.hosts, "destination", name="keep", ports=[81]),
            dns(self.hosts, "full"), dns(self.hosts, "destination", name="keep-dns", ports=[54])]
        self.reset()

    def reset(self):
        super().reset()
        forget(self.client, *self.hosts)


@pytest.fixture(scope="module")
def narrow():
    with serving(Narrow) as made:
        yield made


@both_families
@both_nats
def test_a_megabyte_each_way_through_a_smaller_mtu(narrow, nat, vip, tmp_path):
    net = narrow
    forget(net.client)
    before = net.loom.count("too_big")
    port = {"full": 80, "destination": 81}[nat]
    assert put(net, vip, port, tmp_path, f"{nat}-{family(vip)}") == [True]
    assert net.loom.count("too_big") > before
    assert get(net, vip, port, tmp_path)


@both_families
@both_nats
def test_the_client_learns_the_smaller_mtu(narrow, nat, vip):
    forget(narrow.client)
    assert learnt(narrow, vip, {"full": 53, "destination": 54}[nat], 1500) == 1400


# ---- NAT: a router behind the balancer carries less; its errors must reach whom they concern ----

class Routed(Setup):
    """The backends serve addresses of their own (10.2.0.N) that a router with an MTU of 1300 leads to."""

    def __init__(self, lab, **more):
        super().__init__(lab, backends=2, **more)
        self.topo.lb.ip("route add 10.2.0.0/24 via 10.1.0.99\nroute add fd02::/64 via fd01::99")
        router = self.router = lab.namespace("router")
        router.sysctl("net/ipv4/ip_forward", 1)
        router.sysctl("net/ipv6/conf/all/forwarding", 1)
        self.topo._plug(router, "r0", "pr0")
        router.ip("addr add 10.1.0.99/24 dev r0\naddr add fd01::99/64 dev r0 nodad\n"
                  "route add default via 10.1.0.1\nroute add default via fd01::1\n"
                  "link add br2 type bridge mcast_snooping 0 forward_delay 0\nlink set br2 mtu 1300 up\n"
                  "addr add 10.2.0.1/24 dev br2\naddr add fd02::1/64 dev br2 nodad")
        for number, host in enumerate(self.hosts, 1):
            lab.pair(host, "e2", router, f"s{number}")
            router.ip(f"link set dev s{number} mtu 1300 master br2")
            host.run("ethtool", "-K", "e2", "tx", "off", "gro", "off")
            host.address4, host.address6 = f"10.2.0.1{number}", f"fd02::1{number}"
            host.ip(f"link set dev e0 down\nlink set dev e2 mtu 1300\naddr add {host.address4}/24 dev e2\n"
                    f"addr add {host.address6}/64 dev e2 nodad")
            boast(host, "e2", "10.2.0.0/24", "fd02::/64", "10.2.0.1", "fd02::1")
        self.loom.config["services"] = [web(self.hosts, "full"), web(self.hosts, "destination", name="keep", ports=[81])]
        self.reset()


@pytest.fixture(scope="module")
def routed():
    with serving(Routed, dns_servers=False) as made:
        yield made


@both_families
@both_nats
def test_a_routers_error_reaches_the_client(routed, nat, vip, tmp_path):
    net = routed
    forget(net.client, net.router)
    before = net.loom.count("icmp_error")
    port = {"full": 80, "destination": 81}[nat]
    assert put(net, vip, port, tmp_path, f"{nat}-{family(vip)}") == [True]
    assert net.loom.count("icmp_error") > before
    assert get(net, vip, port, tmp_path)


@both_families
@both_nats
def test_a_router_before_the_client_reaches_the_backend(narrow, nat, vip, tmp_path):
    """The clients' side carries 1290 bytes: the balancer says it to the backend, in the client's name."""
    net = narrow
    net.lb.ip("link set dev lb0 mtu 1290")
    try:
        forget(*net.hosts)
        port = {"full": 80, "destination": 81}[nat]
        assert get(net, vip, port, tmp_path)
    finally:
        net.lb.ip("link set dev lb0 mtu 1500")


# ---- DSR: tunnels add to what was full already ----

@pytest.fixture(scope="module")
def tunnels():
    with serving(DirectSetup, count=2, mtu=1500) as made:
        yield made


@pytest.mark.parametrize("mode, vip", EACH, ids=each_id)
def test_a_megabyte_through_a_tunnel_at_1500(tunnels, mode, vip, tmp_path):
    net = tunnels
    forget(net.client)
    before = net.loom.count("too_big")
    assert put(net, vip, HTTP_PORT, tmp_path, f"{mode}-{family(vip)}") == [True]
    assert (net.loom.count("too_big") > before) == (mode != "none")
    assert get(net, vip, HTTP_PORT, tmp_path)


@pytest.mark.parametrize("mode, vip", [one for one in EACH if one[0] != "none"], ids=each_id)
def test_the_client_learns_what_the_tunnel_leaves(tunnels, mode, vip):
    forget(tunnels.client)
    # A service of both families has IPv6 backends for IPv4, too: their tunnels leave less.
    allowed = {1500 - OVERHEAD[mode][family(vip)], 1500 - OVERHEAD[mode].get(6, 40)}
    assert learnt(tunnels, vip, 5353, 1500) in allowed


def test_an_mtu_that_grows_is_noticed(tunnels):
    vip = VIPS["ipip"][1]
    set_mtu(tunnels.topo, 1600)
    try:
        forget(tunnels.client)
        with tunnels.client.datagram(family=family_of(vip)) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
            sock.connect((vip, 5353))

            def unanswered():
                before = tunnels.loom.count("too_big")
                forget(tunnels.client)
                try:
                    sock.send(bytes(1452))
                except OSError:  # what the last one was answered came after the forgetting
                    return False
                return tunnels.loom.count("too_big") == before

            until("packets of 1500 fit", unanswered)
    finally:
        set_mtu(tunnels.topo, 1500)


# ---- another way: segments that fit from the first ----

CLAMPS = any("LB_MSS_CLAMPED" in path.read_text(encoding="utf-8")
             for path in (HERE.parent.parent / "src/planes/lb").glob("*.bpf.h"))


@pytest.fixture(scope="module")
def clamped():
    with serving(Narrow, dns_servers=False, xdp={"interface": ["lb0", "lb1"], "mode": "native", "mss_clamp": True}) as made:
        yield made


@pytest.mark.skipif(not CLAMPS, reason="the program does not clamp yet")
@both_families
@both_nats
def test_clamped_segments_fit_and_nobody_needs_to_learn(clamped, nat, vip, tmp_path):
    net = clamped
    forget(net.client, *net.hosts)
    before = net.loom.count("too_big")
    port = {"full": 80, "destination": 81}[nat]
    assert put(net, vip, port, tmp_path, f"clamped-{nat}-{family(vip)}") == [True]
    assert get(net, vip, port, tmp_path)
    assert net.loom.count("mss_clamped") > 0
    assert net.loom.count("too_big") == before
    # On the wire: what the client may send, and what it hears that it may.
    with net.client.connect(vip, port) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1400 - (60 if family(vip) == 6 else 40)
