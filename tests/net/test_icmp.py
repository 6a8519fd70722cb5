"""ICMP: pings to services are answered, and errors about their packets reach whoever sent those."""
import contextlib
import socket
import struct
import time

import pytest

from balancer import Setup, backends, serving
from decap import _checksum, ipv4, ipv6
from direct import VIPS, DirectSetup
from lab import LabError, Topology, family_of
from peers import HTTP_PORT, UdpEcho, ping

PORT = 7007
NAT = {"full": ("10.0.0.11", "fd00::11"), "destination": ("10.0.0.12", "fd00::12")}
EACH = [(nat, vip) for nat, vips in NAT.items() for vip in vips]
each = pytest.mark.parametrize("nat, vip", EACH)
# Type and code; RFC 792, RFC 1812, RFC 4443.
ERRORS = {4: [(3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)],
          6: [(1, 0), (1, 3), (1, 4), (2, 0), (3, 0), (3, 1), (4, 1)]}


def family(vip):
    return 6 if ":" in vip else 4


def loud(host):
    """Linux sends one error a second to each peer, if it is not told otherwise."""
    host.sysctl("net/ipv4/icmp_ratelimit", 0)
    host.sysctl("net/ipv6/icmp/ratelimit", 0)


class NatSetup(Setup):
    def __init__(self, lab):
        topo = Topology(lab, 2)
        rows = [{"name": f"{proto}-{nat}", "addresses": list(vips), "protocol": proto, "ports": [port], "mode": "nat",
                 "nat": nat, "backends": backends(topo.backends, port)}
                for nat, vips in NAT.items() for proto, port in (("udp", PORT), ("tcp", HTTP_PORT))]
        super().__init__(lab, services=rows, topo=topo, unbound={})
        self.echoes = []
        self.serve()
        for host in (self.client, *self.hosts):
            loud(host)

    def serve(self):
        self.echoes = [UdpEcho(host, address, PORT) for host in self.hosts for address in (host.address4, host.address6)]

    def silence(self):
        for echo in self.echoes:
            echo.close()


@pytest.fixture(scope="module")
def net():
    with serving(NatSetup) as made:
        yield made


@each
def test_a_ping_to_a_service_that_is_on_no_host_is_answered(net, nat, vip):
    before = net.loom.count("echo")
    for size in (0, 56, 1400):
        ping(net.client, vip, size)
    assert net.loom.count("echo") == before + 3


def test_other_addresses_are_the_hosts_own_affair(net):
    before = net.loom.count("echo")
    ping(net.client, "10.9.0.1", 56)
    ping(net.client, "fd09::1", 56)
    assert net.loom.count("echo") == before


def test_pings_may_be_left_to_the_stack(net):
    net.loom.config["ebpf"]["xdp"]["icmp"] = {"echo": False}
    try:
        net.loom.stop()
        net.loom.write()
        net.loom.start()
        before = net.loom.count("echo")
        for vip in ("10.0.0.11", "fd00::11"):
            # Nobody has the address: the balancer's host says so, or nobody says anything.
            with pytest.raises((OSError, LabError)):
                ping(net.client, vip, 56, timeout=0.3)
        # This one is on lo, and the stack answers by itself.
        net.lb.ip("addr add 10.0.0.12/32 dev lo")
        ping(net.client, "10.0.0.12", 56)
        net.lb.ip("addr del 10.0.0.12/32 dev lo")
        assert net.loom.count("echo") == before
    finally:
        net.loom.config["ebpf"]["xdp"].pop("icmp")
        net.loom.stop()
        net.loom.write()
        net.loom.start()
        net.settled()


@each
def test_a_stopped_server_refuses_datagrams(net, nat, vip):
    net.silence()
    try:
        with net.client.datagram(family=family_of(vip)) as sock:
            sock.connect((vip, PORT))
            sock.send(b"anybody?")
            with pytest.raises(ConnectionRefusedError):
                sock.recv(100)
    finally:
        net.serve()


class Flow:
    """One flow of the client's, UDP or TCP, and how its backend knows it."""

    def __init__(self, net, vip, proto):
        self.proto = 17 if proto == "udp" else 6
        self.port = PORT if proto == "udp" else HTTP_PORT
        self.vip = vip
        if proto == "udp":
            self.sock = net.client.datagram(family=family_of(vip))
            self.sock.connect((vip, PORT))
            self.sock.send(b"x")
            name, address, port = self.sock.recv(100).split()[:3]
        else:
            self.sock = net.client.connect(vip, HTTP_PORT)
            self.sock.sendall(b"GET /who HTTP/1.1\r\nHost: loom\r\n\r\n")
            name, address, port = self.sock.recv(1000).partition(b"\r\n\r\n")[2].split()
        self.host = net.hosts[int(name[1:]) - 1]
        # As the client has it, and as the backend has it.
        self.client = self.sock.getsockname()[:2]
        self.seen = address.decode(), int(port)
        self.backend = getattr(self.host, f"address{family(vip)}"), self.port

    def transport(self, source, dest):
        """The 8 bytes that any error quotes."""
        if self.proto == 17:
            return struct.pack("!4H", source[1], dest[1], 40, 0x1234)
        return struct.pack("!2HI", source[1], dest[1], 0x01020304)

    def quoted(self, source, dest):
        """The packet's beginning, for an error."""
        if ":" in self.vip:
            head = ipv6(source[0], dest[0], self.proto, bytes(40))[:40]
        else:
            head = ipv4(source[0], dest[0], self.proto, bytes(40))[:20]
        return head + self.transport(source, dest)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def listener(host, six):
    with host.entered():
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1)
    sock.settimeout(0.5)
    return sock


def error(kind, quoted):
    """The message; for IPv6 the kernel fills in the checksum."""
    # The pointer of a parameter problem and the MTU of "too big" are not changed on the way.
    rest = 1300 if kind in ((3, 4), (2, 0)) else 0
    head = struct.pack("!BBHI", *kind, 0, rest)
    return struct.pack("!BBHI", *kind, _checksum(head + quoted), rest) + quoted


def heard(sock, kind, six):
    """The source and the message of the next error of the kind."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            data, peer = sock.recvfrom(2000)
        except socket.timeout:
            continue
        if not six:
            data = data[(data[0] & 15) * 4:]
            assert _checksum(data) == 0, data.hex()
        if (data[0], data[1]) == kind:
            return peer[0], data
    raise LabError(f"no error {kind} arrived")


def check(message, kind, expected, six):
    """It quotes the packet as its sender knew it."""
    assert struct.unpack("!BBHI", message[:8])[3] == (1300 if kind in ((3, 4), (2, 0)) else 0)
    quoted = message[8:]
    if not six:
        assert _checksum(quoted[:20]) == 0
        # Time to live aside, which is as the packet had it when it died.
        assert quoted[12:20] == expected[12:20] and quoted[9] == expected[9]
        assert quoted[20:24] == expected[20:24]
    else:
        assert quoted[8:40] == expected[8:40] and quoted[6] == expected[6]
        assert quoted[40:44] == expected[40:44]


@each
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_errors_from_behind_reach_the_client_as_about_its_own_packet(net, nat, vip, proto):
    six = family(vip) == 6
    before = net.loom.count("icmp_error")
    with Flow(net, vip, proto) as flow, listener(net.client, six) as ear, listener(flow.host, six) as mouth:
        for kind in ERRORS[family(vip)]:
            mouth.sendto(error(kind, flow.quoted(flow.seen, flow.backend)), (flow.seen[0], 0))
            peer, message = heard(ear, kind, six)
            check(message, kind, flow.quoted(flow.client, (vip, flow.port)), six)
            # Who is behind a service is nobody's business, but destination NAT hides no backend.
            assert peer in ((vip, flow.backend[0]) if nat == "destination" else (vip,))
    assert net.loom.count("icmp_error") == before + len(ERRORS[family(vip)])


@each
@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_errors_from_the_client_reach_the_backend_as_about_its_own_packet(net, nat, vip, proto):
    six = family(vip) == 6
    with Flow(net, vip, proto) as flow, listener(flow.host, six) as ear, listener(net.client, six) as mouth:
        for kind in ERRORS[family(vip)]:
            mouth.sendto(error(kind, flow.quoted((vip, flow.port), flow.client)), (vip, 0))
            peer, message = heard(ear, kind, six)
            check(message, kind, flow.quoted(flow.backend, flow.seen), six)
            assert peer == (flow.client[0] if nat == "destination" else flow.seen[0])


def test_errors_about_packets_of_nobody_are_not_touched(net):
    before = net.loom.count("icmp_error")
    with listener(net.client, False) as mouth, listener(net.lb, False) as ear:
        quoted = ipv4("10.9.0.1", "10.9.0.2", 17, bytes(40))[:20] + struct.pack("!4H", 5000, 6000, 40, 0)
        mouth.sendto(error((3, 3), quoted), ("10.9.0.1", 0))
        assert heard(ear, (3, 3), False)[0] == "10.9.0.2"
    assert net.loom.count("icmp_error") == before


@pytest.fixture(scope="module")
def direct():
    with serving(DirectSetup, count=2, dns_servers=False) as made:
        for host in (made.client, *made.hosts):
            loud(host)
        yield made


@pytest.mark.parametrize("mode, vip", [(mode, vip) for mode, vips in VIPS.items() for vip in vips])
def test_dsr_errors_about_answers_reach_the_backend_that_sent_them(direct, mode, vip):
    six = family(vip) == 6
    with contextlib.ExitStack() as stack:
        mouth = stack.enter_context(listener(direct.client, six))
        ears = {host.short: stack.enter_context(listener(host, six)) for host in direct.hosts}
        for _ in range(4):
            flow = stack.enter_context(Flow(direct, vip, "tcp"))
            other = next(name for name in ears if name != flow.host.short)
            for kind in ERRORS[family(vip)]:
                quoted = flow.quoted((vip, HTTP_PORT), flow.client)
                mouth.sendto(error(kind, quoted), (vip, 0))
                peer, message = heard(ears[flow.host.short], kind, six)
                check(message, kind, quoted, six)
                assert peer == flow.client[0]
            ears[other].settimeout(0)
            with pytest.raises(BlockingIOError):
                ears[other].recv(100)
            ears[other].settimeout(0.5)


@pytest.mark.parametrize("mode, vip", [(mode, vip) for mode, vips in VIPS.items() for vip in vips])
def test_dsr_pings_are_answered_here(direct, mode, vip):
    before = direct.loom.count("echo")
    ping(direct.client, vip, 56)
    assert direct.loom.count("echo") == before + 1
