"""What a service is for, and whom: ports, clients, limits; what is left to the local stack, and stays there."""
import contextlib
import json
import socket
import threading

import pytest

from balancer import Setup, backends, serving, url
from lab import VIP4, VIP6, Topology, family_of, until
from peers import HTTP_PORT, Load, UdpEcho, curl, who

PORT = 7007
RANGE, ANY, LISTED, DENIED, LIMITED, BEYOND, WS, COMPLEX = (
    (f"10.0.0.{n}", f"fd00::{n}") for n in (40, 41, 42, 43, 44, 45, 46, 47))
LOCAL = [vip for vips in (BEYOND, WS, COMPLEX) for vip in vips]
FAMILIES = pytest.mark.parametrize("family", [4, 6])


def at(pair, family):
    return pair[family == 6]


def rows(hosts):
    def tcp(name, vips, ports, port=HTTP_PORT, **more):
        return {"name": name, "addresses": list(vips), "protocol": "tcp", "ports": ports, "nat": "full",
                "backends": backends(hosts, port), **more}

    any_port = {"name": "any", "addresses": list(ANY), "protocol": ["tcp", "udp"], "ports": ["any"], "nat": "full",
                "backends": [{"address": row["address"]} for row in backends(hosts, 0)]}
    one = tcp("one", ANY, [80])
    limited = {"name": "limited", "addresses": list(LIMITED), "protocol": "udp", "ports": [PORT], "nat": "full",
               "backends": backends(hosts, PORT), "limits": {"new_connections_per_source": 5}}
    return [tcp("range", RANGE, ["8000-8010", 8100]), any_port, one,
            tcp("listed", LISTED, [80], allow=["10.9.0.0/24", "fd09::/64"], deny=["10.9.0.50", "fd09::50"]),
            tcp("denied", DENIED, [80], allow=["10.9.0.50", "fd09::50"], deny=["0.0.0.0/0", "::/0"]),
            limited, tcp("beyond", BEYOND, [80], limits={"new_connections": 5, "syn_cookies": False}), tcp("ws", WS, [80], needs=["websocket"]), tcp("complex", COMPLEX, [80], needs=["complex_routing"])]


class Local:
    """A server on the balancer's own host: says "local" and echoes lines."""

    def __init__(self, host, address, port):
        self.listener = host.listen(address, port)
        self.listener.settimeout(None)
        threading.Thread(target=self._accept, daemon=True).start()
        host.lab.closers.append(self.close)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    @staticmethod
    def _serve(sock):
        with sock, contextlib.suppress(OSError):
            while sock.recv(4096):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nlocal - 0\n")

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Services(Setup):
    def __init__(self, lab):
        topo = Topology(lab, 2)
        topo.client.ip("addr add 10.9.0.50/24 dev c0\naddr add fd09::50/64 dev c0 nodad")
        topo.lb.ip("\n".join(f"addr add {vip}/{128 if ':' in vip else 32} dev lo" for vip in LOCAL))
        super().__init__(lab, services=rows(topo.backends), topo=topo, unbound={},
                         xdp={"interface": topo.interfaces, "mode": "native", "passthrough_ports": [8005],
                              "fallback": ["websocket"]})
        for host in self.hosts:
            for address in (host.address4, host.address6):
                UdpEcho(host, address, PORT)


@pytest.fixture(scope="module")
def net():
    with serving(Services) as made:
        yield made


def talk(sock):
    """Who answers on a connection that is kept."""
    sock.sendall(b"GET /who HTTP/1.1\r\nHost: loom\r\n\r\n")
    return sock.recv(2000).partition(b"\r\n\r\n")[2].split()[0].decode()


def refused(net, vip, port, source=None, timeout=0.4):
    try:
        net.client.connect(vip, port, source, timeout=timeout).close()
    except OSError:
        return True
    return False


# ---- ports ----

@FAMILIES
def test_every_port_of_a_range_is_served_and_no_other(net, family):
    vip = at(RANGE, family)
    for port in [*range(8000, 8011), 8100]:
        if port != 8005:
            assert who(net.client, vip, port)[0] in ("b1", "b2")
    for port in (7999, 8011, 8099, 8101):
        assert refused(net, vip, port)


@FAMILIES
def test_passthrough_ports_are_the_hosts_own(net, family):
    vip = at(RANGE, family)
    assert refused(net, vip, 8005)
    net.lb.ip(f"addr add {vip}/{128 if family == 6 else 32} dev lo")
    server = Local(net.lb, vip, 8005)
    try:
        with net.client.connect(vip, 8005) as sock:
            assert talk(sock) == "local"
        assert who(net.client, vip, 8004)[0] in ("b1", "b2")
    finally:
        server.close()
        net.lb.ip(f"addr del {vip}/{128 if family == 6 else 32} dev lo")


@FAMILIES
def test_any_port_goes_on_to_the_same_port(net, family):
    vip = at(ANY, family)
    assert {who(net.client, vip, HTTP_PORT)[0] for _ in range(20)} == {"b1", "b2"}
    with net.client.datagram(family=family_of(vip)) as sock:
        sock.connect((vip, PORT))
        sock.send(b"x")
        assert sock.recv(100).split()[0] in (b"b1", b"b2")
    # A service of one port of the address goes first: 80 is not served by the backends themselves.
    assert who(net.client, vip, 80)[0] in ("b1", "b2")


# ---- clients ----

@FAMILIES
def test_clients_that_are_listed_or_not(net, family):
    plain = ("10.9.0.2", "fd09::2")[family == 6], 0
    special = ("10.9.0.50", "fd09::50")[family == 6], 0
    before = net.loom.count("denied")
    assert who(net.client, at(LISTED, family), 80, plain)[0] in ("b1", "b2")
    assert refused(net, at(LISTED, family), 80, special)
    assert who(net.client, at(DENIED, family), 80, special)[0] in ("b1", "b2")
    assert refused(net, at(DENIED, family), 80, plain)
    assert net.loom.count("denied") >= before + 2


@FAMILIES
def test_who_is_denied_later_keeps_what_is_open(net, family):
    vip = at(LISTED, family)
    mine = ("10.9.0.2", "fd09::2")[family == 6], 0
    with net.client.connect(vip, 80, mine) as sock:
        name = talk(sock)
        service = next(row for row in net.loom.config["services"] if row["name"] == "listed")
        service["deny"].append(mine[0])
        try:
            net.reset()
            assert talk(sock) == name
            assert refused(net, vip, 80, mine)
        finally:
            service["deny"].pop()
            net.reset()
    assert who(net.client, vip, 80, mine)[0] in ("b1", "b2")


# ---- limits ----

def answered(net, vip, flows):
    """How many of so many new flows at once get an answer."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(net.client.datagram(family=family_of(vip))) for _ in range(flows)]
        for sock in socks:
            sock.connect((vip, PORT))
            sock.send(b"x")
        got = 0
        for sock in socks:
            sock.settimeout(0.05 if got else 1)
            with contextlib.suppress(OSError):
                got += sock.recv(100).split()[0] in (b"b1", b"b2")
            sock.settimeout(0)
        return got


@FAMILIES
def test_datagrams_beyond_a_limit_are_dropped_and_old_flows_are_not(net, family):
    vip = at(LIMITED, family)
    before = net.loom.count("limited")
    with net.client.datagram(family=family_of(vip)) as old:
        old.connect((vip, PORT))
        old.send(b"x")
        name = old.recv(100).split()[0]
        # 20 at once are four seconds' worth.
        assert answered(net, vip, 20) < 15
        assert net.loom.count("limited") > before
        for _ in range(50):
            old.send(b"x")
            assert old.recv(100).split()[0] == name


@FAMILIES
def test_connections_beyond_a_limit_go_to_the_stack_whole(net, family):
    """Each is one server's from its first packet to its last."""
    vip = at(BEYOND, family)
    server = Local(net.lb, vip, 80)
    try:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(net.client.connect(vip, 80)) for _ in range(30)]
            sides = [talk(sock) for sock in socks]
            assert "local" in sides and {"b1", "b2"} & set(sides)
            assert [talk(sock) for sock in socks] == sides
    finally:
        server.close()


# ---- the local stack ----

@FAMILIES
def test_services_that_need_the_stack_get_it_if_the_fallback_says_so(net, family):
    server = Local(net.lb, at(WS, family), 80)
    try:
        with net.client.connect(at(WS, family), 80) as sock:
            assert talk(sock) == "local"
        # Not a word of complex_routing in the fallback: the program balances.
        assert who(net.client, at(COMPLEX, family), 80)[0] in ("b1", "b2")
    finally:
        server.close()


@FAMILIES
def test_a_fallback_that_comes_and_goes_moves_no_open_connection(net, family):
    vip = at(COMPLEX, family)
    xdp = net.loom.config["ebpf"]["xdp"]
    server = Local(net.lb, vip, 80)
    try:
        with net.client.connect(vip, 80) as balanced:
            name = talk(balanced)
            assert name in ("b1", "b2")
            xdp["fallback"] = ["websocket", "complex_routing"]
            restart(net)
            assert talk(balanced) == name
            with net.client.connect(vip, 80) as local:
                assert talk(local) == "local"
                xdp["fallback"] = ["websocket"]
                restart(net)
                assert talk(local) == "local" and talk(balanced) == name
                assert who(net.client, vip, 80)[0] in ("b1", "b2")
                assert talk(local) == "local"
    finally:
        xdp["fallback"] = ["websocket"]
        server.close()
        restart(net)


def restart(net):
    """What is below "ebpf" but not a service needs a new start; services are read again at once."""
    net.loom.write()
    status, _ = net.loom.raw("POST", "/config/reload?reset=true")
    if status != 200:
        net.loom.stop()
        net.loom.start()
    net.settled()


class Hybrid(Setup):
    """The same addresses on the host, with a server for what is passed."""

    def __init__(self, lab):
        topo = Topology(lab, 2)
        super().__init__(lab, topo=topo, unbound={}, mode="hybrid",
                         services=[{"name": "web", "addresses": [VIP4, VIP6], "protocol": "tcp", "ports": [80, 81, 82],
                                    "nat": "full", "backends": backends(topo.backends, HTTP_PORT)}],
                         xdp={"interface": topo.interfaces, "mode": "native", "routes": routes([80])})
        for vip in (VIP4, VIP6):
            for port in (80, 81, 82):
                Local(topo.lb, vip, port)


def routes(ports):
    return [{"match": {"ports": ports, "protocol": "tcp"}, "action": "load_balance"},
            {"match": {"ports": "any"}, "action": "pass"}]


@pytest.fixture(scope="module")
def hybrid():
    with serving(Hybrid) as made:
        yield made


def one(net, vip, port):
    with net.client.connect(vip, port) as sock:
        return talk(sock)


@FAMILIES
def test_routes_say_what_is_balanced(hybrid, family):
    vip = (VIP4, VIP6)[family == 6]
    assert {one(hybrid, vip, 80) for _ in range(20)} == {"b1", "b2"}
    assert {one(hybrid, vip, port) for port in (81, 82) for _ in range(5)} == {"local"}


@FAMILIES
def test_connections_stay_on_their_side_when_a_port_changes_sides(hybrid, family):
    net, vip = hybrid, (VIP4, VIP6)[family == 6]
    xdp = net.loom.config["ebpf"]["xdp"]
    with contextlib.ExitStack() as stack:
        def opened(port):
            return [stack.enter_context(net.client.connect(vip, port)) for _ in range(4)]

        balanced, passed = opened(80), opened(81)
        sides = [talk(sock) for sock in balanced]
        assert set(sides) <= {"b1", "b2"}
        assert {talk(sock) for sock in passed} == {"local"}
        try:
            for ports in ([81], [80], [80, 81], [82], [80]):
                xdp["routes"] = routes(ports)
                restart(net)
                for port in (80, 81):
                    assert (one(net, vip, port) == "local") == (port not in ports)
                assert [talk(sock) for sock in balanced] == sides
                assert {talk(sock) for sock in passed} == {"local"}
        finally:
            xdp["routes"] = routes([80])
            restart(net)
