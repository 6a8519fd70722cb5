"""SYNs beyond a limit are answered with cookies: who is there connects, who is not leaves nothing behind."""
import contextlib
import select
import socket

import pytest

from balancer import serving
from flood import Flood, limited
from lab import PATIENCE, VIP4, VIP6, family_of, until, url_host
from peers import HTTP_PORT, Load, blob


@pytest.fixture(scope="module", params=["full", "destination"])
def net(request):
    with serving(backends=2, nat=request.param, dns_servers=False) as made:
        yield made


@pytest.fixture
def strict(net):
    """Practically every connection is one too many."""
    limited(net, {"new_connections": 1})
    yield net
    limited(net, {"new_connections": 100000000})


def count(net, reason):
    return net.loom.api("GET", "/ebpf/stats")["reasons"].get(reason, {"packets": 0})["packets"]


@contextlib.contextmanager
def crowd(net, vip, size=4):
    """So many connections at once: two may pass, the others take cookies, the last among them."""
    with contextlib.ExitStack() as stack:
        family = family_of(vip)
        socks = [stack.enter_context(net.client.socket(family, socket.SOCK_STREAM)) for _ in range(size)]
        for sock in socks:
            sock.setblocking(False)
        for sock in socks:
            sock.connect_ex((vip, 80))
        for sock in socks:
            sock.settimeout(PATIENCE)
        yield socks


def curls(net, *commands):
    """Side by side, so that they are too many whatever the machine's pace."""
    processes = [net.client.spawn(f"curl{number}", "curl", "-sS", "--fail", *argv) for number, argv in enumerate(commands)]
    assert [process.wait() for process in processes] == [0] * len(commands)


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_connections_through_cookies_carry_everything_both_ways(strict, vip):
    net = strict
    before = count(net, "cookie_open")
    with crowd(net, vip, 8) as socks:
        for sock in socks:
            sock.sendall(f"GET /who HTTP/1.1\r\nHost: {url_host(vip)}\r\n\r\n".encode())
        for sock in socks:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    got = [net.lab.dir / f"down{number}" for number in range(6)]
    curls(net, *(("-o", path, f"http://{url_host(vip)}/blob") for path in got))
    assert all(path.read_bytes() == blob() for path in got)
    assert count(net, "cookie_open") - before >= 8


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_uploads_through_cookies_arrive_whole(strict, vip):
    net = strict
    sent = net.lab.dir / "up"
    sent.write_bytes(blob())
    before = count(net, "cookie_open")
    names = [f"put/{number}-{len(vip)}" for number in range(6)]
    curls(net, *(("-T", sent, f"http://{url_host(vip)}/{name}") for name in names))
    for name in names:
        found = [nginx.files / name for nginx in net.nginx.values() if (nginx.files / name).exists()]
        assert [path.read_bytes() == blob() for path in found] == [True]
        found[0].unlink()
    assert count(net, "cookie_open") - before >= 3


@pytest.fixture
def stopped(strict):
    """Nobody listens behind the balancer."""
    for nginx in strict.nginx.values():
        nginx.stop()
    yield strict
    for nginx in strict.nginx.values():
        nginx.start()


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_server_that_speaks_first_is_heard(stopped, vip):
    net = stopped
    before = count(net, "cookie_open")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(host.listen(host.address6 if ":" in vip else host.address4, HTTP_PORT))
                   for host in net.hosts]
        socks = stack.enter_context(crowd(net, vip))
        accepted = []
        while len(accepted) < len(socks):
            # The backend's SYN-ACK is answered when it comes again.
            ready = select.select(servers, [], [], PATIENCE)[0]
            other = stack.enter_context(ready[0].accept()[0])
            other.sendall(b"220 ready\r\n")
            accepted.append(other)
        for sock in socks:
            assert sock.recv(100) == b"220 ready\r\n"
        socks[-1].sendall(b"QUIT\r\n")
        (asked,) = select.select(accepted, [], [], PATIENCE)[0]
        assert asked.recv(100) == b"QUIT\r\n"
    assert count(net, "cookie_open") > before


def test_refused_connections_are_reset(stopped):
    """The backend says no after the client was told yes."""
    net = stopped
    before = count(net, "cookie_open")
    with crowd(net, VIP4) as socks, pytest.raises(ConnectionResetError):
        socks[-1].recv(1)
    assert count(net, "cookie_open") > before


def test_many_clients_all_get_through(strict):
    with Load(strict.client, VIP4, 80, threads=16, rate=300) as load, Load(strict.client, VIP6, 80, threads=8) as six:
        load.more(600, 60)
        six.more(300, 60)
    assert load.failures() == [] and six.failures() == []


def test_a_flood_hurts_neither_who_is_connected_nor_who_comes(net):
    limited(net, {"new_connections": 200})
    flood = Flood(net.client, "c0", net.lb.mac("lb0"))
    slow = net.client.spawn("curl", "curl", "-sS", "--fail", "--limit-rate", "400k", "-o", net.lab.dir / "slow",
                            f"http://{VIP4}/blob")
    until("the download has begun", lambda: (net.lab.dir / "slow").exists())
    sent, opened = count(net, "cookie_sent"), count(net, "cookie_open")
    with Load(net.client, VIP4, 80, threads=8, rate=100) as load:
        load.more(50)
        flood.run(2, pause=0.1)
        load.more(50, 30)
    assert load.failures() == []
    assert slow.wait(30) == 0
    assert (net.lab.dir / "slow").read_bytes() == blob()
    # Most of the flood was answered without a trace; nothing was opened by it.
    assert count(net, "cookie_sent") - sent > flood.sent / 2
    assert count(net, "cookie_open") - opened <= 200
    assert net.loom.api("GET", "/ebpf/stats")["connections"]["active"] < flood.sent / 4
    limited(net, {"new_connections": 100000000})
