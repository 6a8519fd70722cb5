"""SYNs beyond a limit are answered with cookies: who is there connects, who is not leaves nothing behind."""
import select

import pytest

from balancer import serving
from flood import Flood, limited
from lab import VIP4, VIP6, until
from peers import HTTP_PORT, Load, blob, who


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


def use_up(net, vip):
    """Connects until that takes a cookie, which the next connection will then, too.  Cookies taken so far."""
    before = count(net, "cookie_open")
    while count(net, "cookie_open") == before:
        who(net.client, vip, 80)
    return before + 1


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_connections_through_cookies_carry_everything_both_ways(strict, vip):
    net = strict
    host = f"[{vip}]" if ":" in vip else vip
    before = count(net, "cookie_open")
    for _ in range(4):
        who(net.client, vip, 80)
    for number in range(3):
        got = net.lab.dir / f"down{number}"
        net.client.run("curl", "-sS", "--fail", "-o", got, f"http://{host}/blob")
        assert got.read_bytes() == blob()
    assert count(net, "cookie_open") - before >= 5


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_uploads_through_cookies_arrive_whole(strict, vip):
    net = strict
    host = f"[{vip}]" if ":" in vip else vip
    sent = net.lab.dir / "up"
    sent.write_bytes(blob())
    before = count(net, "cookie_open")
    for number in range(4):
        name = f"put/{number}-{len(vip)}"
        net.client.run("curl", "-sS", "--fail", "-T", sent, f"http://{host}/{name}")
        found = [nginx.files / name for nginx in net.nginx.values() if (nginx.files / name).exists()]
        assert [path.read_bytes() == blob() for path in found] == [True]
        found[0].unlink()
    assert count(net, "cookie_open") - before >= 3


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_server_that_speaks_first_is_heard(strict, vip):
    net = strict
    before = use_up(net, vip)
    for nginx in net.nginx.values():
        nginx.stop()
    try:
        servers = [host.listen(host.address6 if ":" in vip else host.address4, HTTP_PORT) for host in net.hosts]
        with net.client.connect(vip, 80) as sock:
            ready = select.select(servers, [], [], 10)[0]  # the backend's SYN-ACK is answered when it comes again
            with ready[0].accept()[0] as other:
                other.sendall(b"220 ready\r\n")
                assert sock.recv(100) == b"220 ready\r\n"
                sock.sendall(b"QUIT\r\n")
                assert other.recv(100) == b"QUIT\r\n"
        for server in servers:
            server.close()
    finally:
        for nginx in net.nginx.values():
            nginx.start()
    assert count(net, "cookie_open") - before == 1


def test_refused_connections_are_reset(strict):
    """The backend says no after the client was told yes."""
    net = strict
    before = use_up(net, VIP4)
    for nginx in net.nginx.values():
        nginx.stop()
    try:
        with pytest.raises(ConnectionResetError), net.client.connect(VIP4, 80) as sock:
            sock.recv(1)
    finally:
        for nginx in net.nginx.values():
            nginx.start()
    assert count(net, "cookie_open") - before == 1


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
