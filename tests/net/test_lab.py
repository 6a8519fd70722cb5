"""The lab by itself, with nftables where Loom will stand: every peer works before Loom is blamed."""
import pytest

from balancer import Nft, dns, url, web
from lab import Lab, Topology, VIP4, VIP6
from peers import Load, Nginx, Unbound, ask, blob, curl, who


@pytest.fixture(scope="module", params=[False, True], ids=["two-armed", "one-armed"])
def topo(request):
    with Lab() as lab:
        made = Topology(lab, 2, one_armed=request.param)
        for host in made.backends:
            Nginx(host)
            Unbound(host)
        yield made


@pytest.mark.parametrize("nat", ["full", "destination"])
@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_the_peers_talk_through_nftables(topo, vip, nat):
    nft = Nft(topo, [web(topo.backends, nat), dns(topo.backends, nat)])
    try:
        seen = [who(topo.client, vip, 80) for _ in range(4)]
        assert {name for name, _, _ in seen} == {"b1", "b2"}
        expected = {("full", VIP4): "10.1.0.1", ("full", VIP6): "fd01::1",
                    ("destination", VIP4): "10.9.0.2", ("destination", VIP6): "fd09::2"}[nat, vip]
        assert {address for _, address, _ in seen} == {expected}
        with topo.client.datagram(family=2 if vip == VIP4 else 10) as sock:
            assert ask(sock, (vip, 53)) in ("b1", "b2")
        out = topo.lab.dir / "blob.out"
        curl(topo.client, url(vip, "/blob"), "-o", out)
        assert out.read_bytes() == blob()
        with Load(topo.client, vip, 80) as load:
            load.more(200)
        assert load.failures() == []
    finally:
        nft.stop()
