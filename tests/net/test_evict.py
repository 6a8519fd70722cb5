"""Either half of a connection's two table entries may vanish at any moment: the connection goes on."""
import contextlib
import socket
import struct

import pytest

from balancer import serving
from lab import VIP4, VIP6, family_of

PORT = 7000
NATS = {"full": 7000, "destination": 7010}
HALVES = ["client's half", "backend's half"]


@pytest.fixture(scope="module")
def net():
    # One lab for both kinds of NAT: a service and a server port each.
    with serving(backends=1, dns_servers=False) as made:
        host = made.hosts[0]
        for nat, port in NATS.items():
            for protocol in ("tcp", "udp"):
                made.loom.config["services"].append({
                    "name": f"talk-{nat}-{protocol}", "addresses": [VIP4, VIP6], "protocol": protocol,
                    "ports": [port], "nat": nat,
                    "backends": [{"address": a, "port": port} for a in (host.address4, host.address6)]})
        made.reset()
        yield made


def split(endpoint):
    address, _, port = endpoint.rpartition(":")
    return socket.inet_pton(family_of(address), address.strip("[]")), int(port)


def evict(net, half, client_port, protocol):
    """Deletes one of the two entries of the connection from the pinned table (lb_abi.h, lb_key4/6)."""
    row = next(r for r in net.loom.connections() if r["client"].endswith(f":{client_port}")
               and r["protocol"] == protocol)
    ends = (row["client"], row["service_address"]) if half == HALVES[0] else (row["backend"], row["source"])
    (saddr, sport), (daddr, dport) = map(split, ends)
    number = {"tcp": 6, "udp": 17}[protocol]
    key = saddr + daddr + struct.pack("!HHB3x", sport, dport, number)
    net.loom.map_delete("lb_conns4" if len(saddr) == 4 else "lb_conns6", key)


@contextlib.contextmanager
def conversation(net, vip, nat, protocol):
    """The client's and the server's socket of one connection that has spoken both ways."""
    host, port = net.hosts[0], NATS[nat]
    address = host.address4 if vip == VIP4 else host.address6
    with contextlib.ExitStack() as stack:
        if protocol == "tcp":
            listener = stack.enter_context(host.listen(address, port))
            client = stack.enter_context(net.client.connect(vip, port))
            server = stack.enter_context(listener.accept()[0])
            server.settimeout(8)
        else:
            server = stack.enter_context(host.datagram(address, port))
            client = stack.enter_context(net.client.datagram(family=family_of(vip)))
            client.connect((vip, port))
            client.send(b"first")
            data, peer = server.recvfrom(100)
            assert data == b"first"
            server.connect(peer)
        client.settimeout(8)
        say(client, server, b"hello")
        say(server, client, b"hello yourself")
        yield client, server


def say(sender, receiver, text):
    sender.send(text)
    assert receiver.recv(100) == text


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("nat", NATS)
@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_tcp_goes_on_without(net, vip, nat, first, half):
    with conversation(net, vip, nat, "tcp") as (client, server):
        for _ in range(3):
            evict(net, half, client.getsockname()[1], "tcp")
            one, other = (client, server) if first == "client" else (server, client)
            say(one, other, b"after the loss")
            say(other, one, b"and back")
            say(one, other, b"once more")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("nat", NATS)
@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_udp_goes_on_when_the_client_speaks(net, vip, nat, half):
    with conversation(net, vip, nat, "udp") as (client, server):
        for _ in range(3):
            evict(net, half, client.getsockname()[1], "udp")
            assert answered_at_try(client, server) <= 3
            say(client, server, b"and on")
            say(server, client, b"and back")


def answered_at_try(client, server):
    """UDP sends nothing again by itself: like a resolver, the client asks once more after a second."""
    client.settimeout(1)
    for number in range(1, 6):
        client.send(b"%d" % number)
        try:
            say(server, client, server.recv(100))
        except TimeoutError:
            continue
        client.settimeout(8)
        return number
    return 6


def test_a_download_survives_the_loss_of_each_half_again_and_again(net):
    with net.client.connect(VIP4, 80) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.sendall(b"GET /blob HTTP/1.1\r\nHost: loom\r\nConnection: close\r\n\r\n")
        size = 0
        for turn in range(10):
            evict(net, HALVES[turn % 2], sock.getsockname()[1], "tcp")
            for _ in range(8):
                size += len(sock.recv(4096))
        while data := sock.recv(65536):
            size += len(data)
    assert size > 1 << 20
