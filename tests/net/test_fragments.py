"""Datagrams of 64 kB come in fragments, which have no ports: each follows its first one."""
import random
import socket
import struct
import threading

import pytest

from balancer import Setup, backends, serving
from decap import _checksum, ipv4, udp
from direct import ALL_VIPS, VIPS, DirectSetup, service
from lab import Topology, family_of
from peers import UdpEcho

PORT = 7007
# The largest UDP payload, less what the echo puts before it.
LARGE = {4: 65507 - 40, 6: 65527 - 60}
NAT = {"full": ("10.0.0.11", "fd00::11"), "destination": ("10.0.0.12", "fd00::12")}


def nat_services(hosts):
    return [{"name": f"echo-{nat}", "addresses": list(vips), "protocol": "udp", "ports": [PORT], "mode": "nat",
             "nat": nat, "backends": backends(hosts, PORT)} for nat, vips in NAT.items()]


def direct_services(hosts):
    return [service("echo", hosts, mode, PORT, "udp") for mode in VIPS]


class NatEcho(Setup):
    def __init__(self, lab):
        topo = Topology(lab, 2)
        super().__init__(lab, services=nat_services(topo.backends), topo=topo, nginx={}, unbound={})
        self.kinds = NAT
        for host in self.hosts:
            UdpEcho(host, host.address4, PORT)
            UdpEcho(host, host.address6, PORT)


class DirectEcho(DirectSetup):
    def __init__(self, lab):
        super().__init__(lab, count=2, rows=direct_services, dns_servers=False)
        self.kinds = VIPS
        for host in self.hosts:
            for vip in ALL_VIPS:
                UdpEcho(host, vip, PORT)


@pytest.fixture(scope="module", params=[NatEcho, DirectEcho], ids=["nat", "dsr"])
def net(request):
    with serving(request.param) as made:
        made.vips = [vip for vips in made.kinds.values() for vip in vips]
        yield made


def family(vip):
    return 6 if ":" in vip else 4


def asking(net, vip):
    sock = net.client.datagram(family=family_of(vip))
    sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    sock.connect((vip, PORT))
    return sock


def echoed(sock, data):
    """Who sent it back; an error if it is not the same."""
    sock.send(data)
    answer = sock.recv(65535)
    name, _, _, rest = answer.split(b" ", 3)
    assert rest == data
    return name.decode()


def test_datagrams_of_64_kb_come_and_go(net):
    for vip in net.vips:
        names = set()
        for _ in range(24):
            with asking(net, vip) as sock:
                # The same flow with and without fragments.
                short = echoed(sock, b"short")
                assert {echoed(sock, random.randbytes(LARGE[family(vip)])) for _ in range(2)} == {short}
                names.add(short)
        assert names == {"b1", "b2"}


def test_the_first_packet_of_a_flow_may_be_a_fragment(net):
    for vip in net.vips:
        with asking(net, vip) as sock:
            first = echoed(sock, random.randbytes(9000))
            assert echoed(sock, b"short") == first


def test_many_datagrams_at_once_are_not_mixed_up(net):
    failures = []

    def work(vip):
        try:
            for _ in range(10):
                with asking(net, vip) as sock:
                    echoed(sock, random.randbytes(20000))
        except (OSError, AssertionError, ValueError) as error:
            failures.append((vip, repr(error)))

    threads = [threading.Thread(target=work, args=(vip,)) for vip in net.vips]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def raw(net):
    with net.client.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(("c0", 0))
    return sock


def fragments4(vip, data, ident, sport):
    """A datagram of two fragments."""
    whole = udp(sport, PORT, data)
    half = len(whole) // 2 & ~7
    return [ipv4("10.9.0.2", vip, 17, whole[:half], ident=ident, frag=0x2000),
            ipv4("10.9.0.2", vip, 17, whole[half:], ident=ident, frag=half // 8)]


def fragments6(vip, data, ident, sport):
    whole = bytearray(udp(sport, PORT, data))
    source, dest = socket.inet_pton(10, "fd09::2"), socket.inet_pton(10, vip)
    pseudo = source + dest + struct.pack("!II", len(whole), 17)
    whole[6:8] = struct.pack("!H", _checksum(pseudo + bytes(whole)) or 0xFFFF)
    half = len(whole) // 2 & ~7
    packets = []
    for part, offset in ((whole[:half], 1), (whole[half:], half)):
        packets.append(struct.pack("!IHBB", 6 << 28, 8 + len(part), 44, 64) + source + dest +
                       struct.pack("!BBHI", 17, 0, offset, ident) + bytes(part))
    return packets


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_fragments_that_come_before_their_first_are_counted(net, number):
    vip = net.vips[number]
    six = family(vip) == 6
    macs = bytes.fromhex((net.lb.mac("lb0") + net.client.mac("c0")).replace(":", ""))
    data = bytes(range(200)) * 2
    with net.client.datagram("fd09::2" if six else "10.9.0.2") as sock, raw(net) as wire:
        sport = sock.getsockname()[1]
        first, later = (fragments6 if six else fragments4)(vip, data, 4711, sport)
        kind = struct.pack("!H", 0x86DD if six else 0x0800)
        before = net.loom.count("fragment_early")
        wire.send(macs + kind + later)
        assert net.loom.count("fragment_early") == before + 1
        # In order, and counted no more: what was early is lost, its datagram's next try is not.
        wire.send(macs + kind + first)
        wire.send(macs + kind + later)
        answer = sock.recv(2000)
        assert answer.split(b" ", 3)[3] == data
        assert net.loom.count("fragment_early") == before + 1


def test_fragments_for_nobody_are_left_alone(net):
    """They reach the stack, which puts them together."""
    macs = bytes.fromhex((net.lb.mac("lb0") + net.client.mac("c0")).replace(":", ""))
    with net.lb.datagram("10.9.0.1", PORT) as server, raw(net) as wire:
        for packet in fragments4("10.9.0.1", bytes(1000), 99, 5000):
            wire.send(macs + b"\x08\x00" + packet)
        assert server.recv(2000) == bytes(1000)
