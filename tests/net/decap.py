"""The backend's half of direct server return: loom decap as a black box, and a balancer by hand to feed it."""
import json
import socket
import struct
import threading

from balancer import BUILD
from lab import run
from peers import _checksum

PACKET_HOST = 0
GUE_PORT = 6080


class Decap:
    """loom decap on a host.  No process stays; the pins lie in the lab's bpffs.

        unwrapping = Decap(backend, "e0", [VIP4, VIP6]).start()
        unwrapping.packets("ipip")
    """

    def __init__(self, host, interface, vips, *options, mode="native"):
        self.host = host
        self.interfaces = [interface] if isinstance(interface, str) else list(interface)
        self.vips = list(vips)
        self.options = [*options, "--mode", mode]
        self.pins = host.lab.bpf / f"decap-{host.short}"
        host.lab.closers.append(self.detach)

    def cli(self, *argv, check=True):
        return self.host.run(BUILD / "loom", "decap", "--pin-path", self.pins, *argv, check=check)

    def _where(self, vips):
        return [word for interface in self.interfaces for word in ("--iface", interface)] + \
               [word for vip in vips for word in ("--vip", vip)]

    def start(self, vips=None):
        """Sets it up, or replaces what is there, with other VIPs if they are given."""
        self.vips = self.vips if vips is None else list(vips)
        self.cli(*self._where(self.vips), *self.options)
        return self

    def detach(self):
        return self.cli("--detach")

    def show(self):
        return json.loads(self.cli("--show", "--json").stdout)

    def packets(self, kind):
        """One counter: ipip, ip4in6, ip6ip6, gue, other, no_vip, malformed, ..."""
        return self.show()["counters"][kind]["packets"]

    def findings(self):
        """What is not well by loom decap --check, and its exit status."""
        done = self.cli("--check", "--json", *self._where(self.vips), check=False)
        return [row for row in json.loads(done.stdout) if row["severity"] != "ok"], done.returncode


def ipv4(source, dest, proto, payload, tos=0, ident=0, frag=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), ident, frag, 64, proto, 0,
                       socket.inet_aton(source), socket.inet_aton(dest))
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload


def ipv6(source, dest, proto, payload, tos=0):
    return struct.pack("!IHBB", 6 << 28 | tos << 20, len(payload), proto, 64) + \
        socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, dest) + payload


def udp(sport, dport, payload):
    """Without a checksum."""
    return struct.pack("!4H", sport, dport, 8 + len(payload), 0) + payload


def wrap(inner, kind, to4, to6, flow=0, tos=0):
    """The inner packet in ipip (of either family), gue4 or gue6 (variant 1), gue4-0 or gue6-0 (variant 0)."""
    six = inner[0] >> 4 == 6
    proto = 41 if six else 4
    if kind.startswith("gue"):
        head = struct.pack("!BBHI", 1, proto, 0, 0x12345678) if kind.endswith("-0") else b""
        payload, proto = udp(49152 | flow & 0x3FFF, GUE_PORT, head + inner), 17
    else:
        payload = inner
    if kind in ("ip6ip6", "ip4in6") or kind.startswith("gue6"):
        return ipv6(f"fd99::{flow & 0xFFFF:x}", to6, proto, payload, tos)
    return ipv4(f"172.16.{flow >> 8 & 255}.{flow & 255}", to4, proto, payload, tos)


class Wrapper:
    """A balancer with one backend: wraps what arrives for a VIP and sends it on, as self.kind says."""

    def __init__(self, host, come, go, backend, backend_interface, vips):
        self.kind = "ipip"
        self.to = backend.address4, backend.address6
        self.vips = {socket.inet_pton(socket.AF_INET6 if ":" in vip else socket.AF_INET, vip) for vip in vips}
        macs = backend.mac(backend_interface), host.mac(go)
        self.macs = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in macs)
        with host.entered():
            self.come = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.come.bind((come, 3))
            self.go = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.go.bind((go, 0))
        # Not more than the receive buffer of a socket; a megabyte at once is.
        self.come.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.come.settimeout(0.2)
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        host.lab.closers.append(self.close)

    def send(self, packet):
        """An IP packet to the backend, as it is."""
        self.go.send(self.macs + struct.pack("!H", 0x86DD if packet[0] >> 4 == 6 else 0x0800) + packet)

    def _run(self):
        while not self.ended:
            try:
                frame, where = self.come.recvfrom(65536)
            except socket.timeout:
                continue
            if where[2] != PACKET_HOST or where[1] not in (0x0800, 0x86DD):
                continue
            inner = frame[14:]
            six = where[1] == 0x86DD
            if (inner[24:40] if six else inner[16:20]) not in self.vips:
                continue
            flow = hash(inner[8:44] if six else inner[12:24]) & 0xFFFF
            self.send(wrap(inner, self.kind, *self.to, flow=flow))

    def close(self):
        self.ended = True
        self.thread.join(2)
        self.come.close()
        self.go.close()


class DirectReturn:
    """The client sends by way of the sender, which wraps; the backend's answers take another way.

         client c0 ---- s0 sender s1 ---- e0 backend
         client d0 -------------------------- e1 backend (10.0.0.1, fd00::1 on lo)
    """

    def __init__(self, lab, vips):
        self.lab, self.vips = lab, vips
        self.client, self.sender, self.backend = (lab.namespace(name) for name in ("client", "sender", "b1"))
        lab.pair(self.client, "c0", self.sender, "s0")
        lab.pair(self.sender, "s1", self.backend, "e0")
        lab.pair(self.client, "d0", self.backend, "e1")
        for host, interface in ((self.client, "c0"), (self.client, "d0"), (self.sender, "s1"), (self.backend, "e1"),
                                (self.backend, "e0")):
            host.run("ethtool", "-K", interface, "tx", "off", "gro", "off")
        # Room for the outer headers.
        self.client.ip("link set dev c0 mtu 1400\naddr add 10.9.0.2/24 dev c0\naddr add fd09::2/64 dev c0 nodad\n"
                       "addr add 10.8.0.2/24 dev d0\naddr add fd08::2/64 dev d0 nodad\n"
                       "route add 10.0.0.0/24 via 10.9.0.1\nroute add fd00::/64 via fd09::1")
        self.sender.ip("addr add 10.9.0.1/24 dev s0\naddr add fd09::1/64 dev s0 nodad\n"
                       "addr add 10.1.0.1/24 dev s1\naddr add fd01::1/64 dev s1 nodad\n"
                       # The kernel has no say in what the wrapper takes.
                       "route add blackhole 10.0.0.0/24\nroute add blackhole fd00::/64")
        self.backend.address4, self.backend.address6 = "10.1.0.11", "fd01::11"
        self.backend.ip("addr add 10.1.0.11/24 dev e0\naddr add fd01::11/64 dev e0 nodad\n"
                        "addr add 10.8.0.1/24 dev e1\naddr add fd08::1/64 dev e1 nodad\n"
                        "route add default via 10.8.0.2\nroute add default via fd08::2\n" +
                        "\n".join(f"addr add {vip}/{128 if ':' in vip else 32} dev lo" for vip in vips))
        for key, value in (("rp_filter", 0), ("arp_ignore", 1), ("arp_announce", 2)):
            for which in ("all", "e0", "e1"):
                self.backend.sysctl(f"net/ipv4/conf/{which}/{key}", value)
        for which in ("all", "c0", "d0"):
            self.client.sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
        self.wrapper = Wrapper(self.sender, "s0", "s1", self.backend, "e0", vips)

    def xdp(self, interface="e0"):
        """Whether the backend's interface has an XDP program."""
        with self.backend.entered():
            return "xdp" in run("ip", "link", "show", interface).stdout
