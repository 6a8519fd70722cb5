"""What is not for a service passes as if Loom were not there."""
import threading

import pytest

from balancer import backends, serving, url
from lab import VIP4, VIP6
from peers import HTTP_PORT, Load, blob, curl, ping, who


@pytest.fixture(scope="module", params=[False, True], ids=["two-armed", "one-armed"])
def net(request):
    with serving(backends=2, one_armed=request.param) as made:
        yield made


def exchange(listener, connect):
    """A megabyte up and one down between a server and a client."""
    got = []

    def serve():
        server = listener.accept()[0]
        with server:
            server.settimeout(10)
            data = b""
            while len(data) < 1 << 20:
                data += server.recv(65536)
            got.append(data)
            server.sendall(data[::-1])

    thread = threading.Thread(target=serve)
    thread.start()
    with connect() as client:
        client.settimeout(10)
        client.sendall(blob())
        back = b"".join(iter(lambda: client.recv(65536), b""))
    thread.join(10)
    assert got == [blob()] and back == blob()[::-1]


@pytest.mark.parametrize("address", [VIP4, "10.9.0.1", VIP6, "fd09::1"])
def test_a_login_to_the_balancers_host(net, address):
    with net.lb.listen("::" if ":" in address else "0.0.0.0", 2222) as listener:
        exchange(listener, lambda: net.client.connect(address, 2222))


@pytest.mark.parametrize("family", [4, 6])
def test_a_direct_connection_to_a_backend_is_routed(net, family):
    host = net.hosts[0]
    address = host.address4 if family == 4 else host.address6
    with host.listen(address, 2222) as listener:
        exchange(listener, lambda: net.client.connect(address, 2222))


@pytest.mark.parametrize("family", [4, 6])
def test_a_direct_connection_to_the_port_that_is_balanced_to(net, family, tmp_path):
    address = net.hosts[0].address4 if family == 4 else net.hosts[0].address6
    curl(net.client, url(address, "/blob", HTTP_PORT), "-o", tmp_path / "direct")
    assert (tmp_path / "direct").read_bytes() == blob()


@pytest.mark.parametrize("family", [4, 6])
def test_a_direct_connection_to_a_port_that_is_balanced_to_with_the_clients_address_kept(net, family, tmp_path):
    """Only the client's half of a flow tells a direct answer from a balanced one: their addresses are the same."""
    address = net.hosts[0].address4 if family == 4 else net.hosts[0].address6
    net.loom.config["services"].append({"name": "kept", "addresses": [VIP4, VIP6], "protocol": "tcp",
                                        "ports": [88], "nat": "destination",
                                        "backends": backends(net.hosts, HTTP_PORT)})
    try:
        net.reset()
        curl(net.client, url(address, "/blob", HTTP_PORT), "-o", tmp_path / "direct", timeout=5)
        assert (tmp_path / "direct").read_bytes() == blob()
        curl(net.lb, url(address, "/blob", HTTP_PORT), "-o", tmp_path / "own", timeout=5)
        assert (tmp_path / "own").read_bytes() == blob()
    finally:
        net.loom.config["services"].pop()
        net.reset()


@pytest.mark.parametrize("family", [4, 6])
def test_the_balancers_host_reaches_the_backends_itself(net, family, tmp_path):
    address = net.hosts[0].address4 if family == 4 else net.hosts[0].address6
    for _ in range(5):
        curl(net.lb, url(address, "/blob", HTTP_PORT), "-o", tmp_path / "own")
        assert (tmp_path / "own").read_bytes() == blob()


@pytest.mark.parametrize("target", [VIP4, "10.9.0.1", "10.1.0.11", VIP6, "fd09::1", "fd01::11"])
@pytest.mark.parametrize("size", [56, 4000])
def test_ping_in_one_frame_and_in_fragments(net, target, size):
    for _ in range(3):
        ping(net.client, target, size)


def test_arp_and_neighbour_discovery(net):
    for _ in range(3):
        net.client.run("ip", "neigh", "flush", "dev", "c0")
        assert who(net.client, VIP4, 80)[0] in ("b1", "b2")
        assert who(net.client, VIP6, 80)[0] in ("b1", "b2")


def test_a_served_port_on_another_address_is_not_ours(net):
    with net.lb.listen("10.9.0.1", 80) as listener:
        exchange(listener, lambda: net.client.connect("10.9.0.1", 80))


def test_what_is_not_ours_passes_unharmed_beside_load(net, tmp_path):
    host = net.hosts[1]
    with Load(net.client, VIP4, 80) as load, host.listen(host.address4, 2222) as listener:
        exchange(listener, lambda: net.client.connect(host.address4, 2222))
        load.more(100)
    assert load.failures() == []
