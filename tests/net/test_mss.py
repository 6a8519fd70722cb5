"""mss_clamp: both ends learn of segments that fit the way."""
import socket

import pytest

from balancer import serving, web
from lab import VIP4, VIP6, until

TIMESTAMPS = 12


def segment(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) + TIMESTAMPS


@pytest.fixture(scope="module")
def net():
    with serving(backends=1, dns_servers=False) as made:
        yield made


def use(net, **xdp):
    net.loom.config["ebpf"]["xdp"].pop("mss_clamp", None)
    net.loom.config["ebpf"]["xdp"].update(xdp)
    net.loom.config["services"] = [web(net.hosts, "full", ports=[80, 7000])]
    for backend in net.loom.config["services"][0]["backends"]:
        backend["port"] = 7000
    net.loom.write()
    net.loom.api("POST", "/config/reload")
    net.settled()


@pytest.mark.parametrize("vip, headers", [(VIP4, 40), (VIP6, 60)])
def test_syn_and_answer_are_clamped(net, vip, headers):
    host = net.hosts[0]
    address = host.address6 if ":" in vip else host.address4
    with host.listen(address, 7000) as server:
        for xdp, wanted in (({}, 1500 - headers), ({"mss_clamp": 1000}, 1000),
                            ({"mss_clamp": True}, 1500 - headers)):
            use(net, **xdp)
            with net.client.connect(vip, 80) as sock, server.accept()[0] as other:
                assert (segment(sock), segment(other)) == (wanted, wanted), xdp
    # A narrower way than either end knows of.
    net.lb.ip("link set lb1 mtu 1400")
    try:
        with host.listen(address, 7000) as server:
            use(net, mss_clamp=True)

            def both():
                with net.client.connect(vip, 80) as sock, server.accept()[0] as other:
                    return segment(sock), segment(other)

            until("the narrower way", lambda: both() == (1400 - headers, 1400 - headers))
    finally:
        net.lb.ip("link set lb1 mtu 1500")
    assert net.loom.api("GET", "/ebpf/stats")["reasons"]["mss_clamped"]["packets"] >= 3
