"""Real WireGuard peers (wireguard-go) around a group of sockets that stands before one real server.

    peers  ── wg-go: 10.66.N.2 ──┐ veth 10.7.0.2 ▸ 10.7.0.1:7000   Relay: the group's sockets ──▸ wg-go server 10.66.N.1

The relay does what a sharded server would: it gives each receiver index that the server allocates to one of its
sockets, says so before the Response leaves, and keeps a record of which socket each message reached.
"""
import collections
import json
import os
import random
import select
import socket
import struct
import threading

from lab import LabError, until
from steering import PORT, Server

SERVER_PORT, ECHO_PORT = 7100, 7200
NEAR, FAR = "10.7.0.1", "10.7.0.2"
INITIATION, RESPONSE, COOKIE_REPLY, DATA = 1, 2, 3, 4

Seen = collections.namedtuple("Seen", "kind index socket owner source")


def receiver_index(data):
    """The kind of a message, and the receiver's index if it has one."""
    kind = struct.unpack_from("<I", data)[0] if len(data) >= 12 else 0
    if kind == RESPONSE:
        return kind, struct.unpack_from("<I", data, 8)[0]
    if kind in (COOKIE_REPLY, DATA):
        return kind, struct.unpack_from("<I", data, 4)[0]
    return kind, None


class Relay:
    """The group.  publish(index, socket's number) is called before the peer can know the index."""

    def __init__(self, net, count, publish, address=NEAR, port=PORT):
        self.publish = publish
        self.random = random.Random(7)
        self.seen, self.owner, self.ways = [], {}, {}
        self.poll = select.epoll()
        self.back = {}
        with net.host.entered():
            self.sockets = [self._socket(address, port) for _ in range(count)]
            self.wake, self.end = socket.socketpair()
        for sock in self.sockets:
            self.poll.register(sock, select.EPOLLIN)
        self.poll.register(self.end, select.EPOLLIN)
        self.numbers = {sock.fileno(): number for number, sock in enumerate(self.sockets)}
        self.net = net
        self.error = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        net.lab.closers.append(self.close)

    @staticmethod
    def _socket(address, port):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
        return sock

    def start(self):
        self.thread.start()
        return self

    def cookies(self):
        return [int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 57, 8), "little") for sock in self.sockets]

    def _serve(self):
        try:
            while True:
                for fd, _ in self.poll.poll():
                    if fd == self.end.fileno():
                        return
                    if fd in self.numbers:
                        self._from_peer(self.numbers[fd])
                    else:
                        self._from_server(fd)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _from_peer(self, number):
        data, source = self.sockets[number].recvfrom(65535)
        kind, index = receiver_index(data)
        self.seen.append(Seen(kind, index, number, self.owner.get(index), source))
        if source not in self.ways:
            with self.net.host.entered():
                way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            way.connect(("127.0.0.1", SERVER_PORT))
            self.ways[source] = way
            self.back[way.fileno()] = (way, source)
            self.poll.register(way, select.EPOLLIN)
        self.ways[source].send(data)

    def _from_server(self, fd):
        way, source = self.back[fd]
        data = way.recv(65535)
        if struct.unpack_from("<I", data)[0] == RESPONSE:
            # Any socket but, three times of four, the one that the kernel's hash would choose.
            index = struct.unpack_from("<I", data, 4)[0]
            self.owner[index] = self.random.randrange(len(self.sockets))
            self.publish(index, self.owner[index])
        self.sockets[0].sendto(data, source)

    def data(self):
        """Data messages so far, and those that reached another socket than their index's."""
        rows = [one for one in list(self.seen) if one.kind == DATA]
        return rows, [one for one in rows if one.socket != one.owner]

    def close(self):
        self.wake.close()
        if self.thread.ident:
            self.thread.join(2)
        for sock in [*self.sockets, *self.ways.values(), self.end]:
            sock.close()
        self.poll.close()
        if self.error:
            raise self.error


class Interface:
    """One wireguard-go with its TUN device.  Its control socket's path is machine-wide, so names are."""

    count = 0

    def __init__(self, net, host):
        Interface.count += 1
        self.net, self.host = net, host
        self.name = f"w{os.getpid() % 1000000}-{Interface.count}"
        self.process = host.spawn(f"wg-{self.name}", "env", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1",
                                  "LOG_LEVEL=error", "wireguard-go", "-f", self.name)
        path = f"/var/run/wireguard/{self.name}.sock"
        until(f"{path}", lambda: os.path.exists(path))
        self.key = host.run("wg", "genkey").stdout.strip()
        self.public = host.run("wg", "pubkey", text=self.key).stdout.strip()
        file = net.lab.dir / f"{self.name}.key"
        file.write_text(self.key, encoding="ascii")
        self.set("private-key", file)

    def set(self, *argv):
        self.host.run("wg", "set", self.name, *argv)

    def up(self, *addresses):
        self.host.ip("\n".join(f"addr add {one} dev {self.name}" for one in addresses) + f"\nlink set {self.name} up")


class Peers:
    """The server, its peers in a namespace of their own, and the pair between."""

    def __init__(self, net, count):
        self.net = net
        self.host = net.lab.namespace("peers")
        net.lab.pair(net.host, "near", self.host, "far")
        net.host.ip(f"addr add {NEAR}/24 dev near")
        self.host.ip(f"addr add {FAR}/24 dev far")
        self.server = Interface(net, net.host)
        self.server.set("listen-port", SERVER_PORT)
        self.clients = [Interface(net, self.host) for _ in range(count)]
        self.server.up(*(f"10.66.{n}.1/32" for n in range(count)))
        for n, client in enumerate(self.clients):
            self.server.set("peer", client.public, "allowed-ips", f"10.66.{n}.2/32")
            client.set("peer", self.server.public, "allowed-ips", f"10.66.{n}.1/32", "endpoint", f"{NEAR}:{PORT}")
            client.up(f"10.66.{n}.2/32")
            net.host.ip(f"route add 10.66.{n}.2/32 dev {self.server.name} src 10.66.{n}.1")
            self.host.ip(f"route add 10.66.{n}.1/32 dev {client.name}")
        self.echo = net.python("udp", workers=1, address="0.0.0.0", port=ECHO_PORT)

    def renew(self, n):
        """Forgets the session: the next packet begins with a handshake."""
        client = self.clients[n]
        client.set("peer", self.server.public, "remove")
        client.set("peer", self.server.public, "allowed-ips", f"10.66.{n}.1/32", "endpoint", f"{NEAR}:{PORT}")

    def roam(self, n, port):
        """The same session from another source port."""
        self.clients[n].set("listen-port", port)

    def use(self, count=5):
        """Datagrams through every tunnel and back; an error unless all are answered."""
        for n in range(len(self.clients)):
            with self.host.datagram(f"10.66.{n}.2") as sock:
                sock.connect((f"10.66.{n}.1", ECHO_PORT))
                for number in range(count):
                    sock.send(f"{n}/{number}".encode())
                    if not sock.recv(64).endswith(f" {n}/{number}".encode()):
                        raise LabError(f"tunnel {n}: another datagram's answer")


class Group(Server):
    """steer_wg.c: sockets that record alone, and messages to all of their indices."""

    def __init__(self, net, count, address="127.0.0.1", port=PORT):
        self.fifo = net.lab.dir / "wg-commands"
        os.mkfifo(self.fifo)
        self.program = net.cc("steer_wg")
        super().__init__(net, "steer-wg", [self.program, address, port, count, self.fifo], port, "^ready")
        self.cookies = [int(line.split()[2]) for line in self.process.lines if line.startswith("socket ")]

    def run(self, owners, kind=DATA, segments=1, timeout=30):
        """What becomes of one message of a kind to each index: owners is {index: socket}."""
        file = self.net.lab.dir / "owners"
        file.write_text("".join(f"{index} {owner}\n" for index, owner in owners.items()), encoding="ascii")
        seen = len(self.process.lines)
        with open(self.fifo, "w", encoding="ascii") as commands:
            commands.write(f"run {file} {kind} {segments}\n")
        return json.loads(self.process.wait_line("^{", timeout, seen))
