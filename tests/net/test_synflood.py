"""SYNs beyond a limit are answered with cookies: who is there connects, who is not leaves nothing behind."""
import pytest

from balancer import serving
from flood import Flood, limited
from lab import VIP4, VIP6, until
from peers import Load, blob, who


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
