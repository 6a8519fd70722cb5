"""Backends come, go and change weight while requests run; nobody on the others notices."""
import time

import pytest

from balancer import serving
from lab import VIP4, until
from peers import DNS_PORT, HTTP_PORT, Load, UdpEcho, ask, who


@pytest.fixture(scope="module")
def net():
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def as_configured(net):
    yield
    net.reset()


def hold(net, name, vip=VIP4):
    """An open connection to the named backend, having answered once."""
    for _ in range(60):
        sock = net.client.connect(vip, 80)
        if request(sock) == name:
            return sock
        sock.close()
    raise AssertionError(f"60 connections and none on {name}")


def request(sock):
    sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
    data = sock.recv(4096)
    if not data:
        raise ConnectionResetError("closed")
    return data.rpartition(b"\r\n\r\n")[2].strip().decode()


def host(net, name):
    return next(h for h in net.hosts if h.short == name)


def test_removing_and_adding_under_load_fails_nothing(net):
    with Load(net.client, VIP4, 80) as load, Load(net.client, VIP4, 53, "dns", 4, 200) as queries:
        for _ in range(3):
            row = net.loom.backend(host(net, "b2"))
            net.loom.api("DELETE", f"/ebpf/backends/{row['id']}")
            load.more()
            net.loom.api("POST", "/config/reload?reset=true")
            load.more()
        queries.more(50)
    assert load.failures() == [] and queries.failures() == []
    assert set(load.by_backend()) == {"b1", "b2", "b3"}


def test_weights_change_under_load_and_fail_nothing(net):
    ids = {name: net.loom.backend(host(net, name))["id"] for name in ("b1", "b2", "b3")}
    with Load(net.client, VIP4, 80, "short") as load:
        for weights in ((1, 100, 1000), (65535, 1, 1), (0, 100, 100), (100, 100, 100)):
            for ident, weight in zip(ids.values(), weights):
                assert net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"weight": weight})["weight"] == weight
            load.more(100)
    assert load.failures() == []


def test_weights_are_the_shares_of_new_connections(net):
    for name, weight in (("b1", 300), ("b2", 100), ("b3", 0)):
        net.loom.api("PATCH", f"/ebpf/backends/{net.loom.backend(host(net, name))['id']}", {"weight": weight})
    names = [who(net.client, VIP4, 80)[0] for _ in range(200)]
    assert "b3" not in names
    # 50 are expected on b2, with a standard deviation of 6.1.
    assert 25 <= names.count("b2") <= 75, names.count("b2")


def test_an_added_backend_gets_its_share_at_once(net):
    added = net.topo.add_backend(4) if len(net.hosts) < 4 else net.hosts[3]
    if "b4" not in net.nginx:
        from peers import Nginx
        net.nginx["b4"] = Nginx(added)
    with Load(net.client, VIP4, 80) as load:
        row = net.loom.api("POST", "/ebpf/backends",
                           {"service": "web", "address": added.address4, "port": HTTP_PORT}, status=201)
        assert row["origin"] == "api" and row["weight"] == 100
        assert "b4" in {who(net.client, VIP4, 80)[0] for _ in range(60)}
        load.more(400)
    assert load.failures() == []
    assert load.by_backend().get("b4", 0) > 0


def test_no_new_connection_reaches_a_backend_after_delete_was_answered(net):
    held = hold(net, "b1")
    row = net.loom.backend(host(net, "b1"))
    answer = net.loom.api("DELETE", f"/ebpf/backends/{row['id']}")
    assert answer["state"] == "removed"
    assert "b1" not in {who(net.client, VIP4, 80)[0] for _ in range(100)}
    # What was established goes on to its end, and then the backend is gone.
    assert [request(held) for _ in range(5)] == ["b1"] * 5
    held.close()
    until("the backend's end", lambda: row["id"] not in {
        b["id"] for b in net.loom.api("GET", "/ebpf/backends")["backends"]})


def test_a_draining_backend_keeps_its_connections_and_comes_back(net):
    held = hold(net, "b1")
    ident = net.loom.backend(host(net, "b1"))["id"]
    assert net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"state": "draining"})["state"] == "draining"
    assert "b1" not in {who(net.client, VIP4, 80)[0] for _ in range(60)}
    assert request(held) == "b1"
    net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"state": "active"})
    assert "b1" in {who(net.client, VIP4, 80)[0] for _ in range(60)}
    assert request(held) == "b1"
    held.close()


def test_at_its_deadline_a_removed_backend_loses_its_connections(net):
    held = hold(net, "b1")
    begin = time.monotonic()
    net.loom.api("DELETE", f"/ebpf/backends/{net.loom.backend(host(net, 'b1'))['id']}?deadline=2s")
    assert request(held) == "b1"
    with pytest.raises(OSError):
        while time.monotonic() < begin + 10:
            request(held)
    assert 1.0 <= time.monotonic() - begin < 9
    held.close()


def test_force_resets_tcp_towards_the_client(net):
    held, other = hold(net, "b1"), hold(net, "b2")
    answer = net.loom.api("DELETE", f"/ebpf/backends/{net.loom.backend(host(net, 'b1'))['id']}?force=true")
    assert answer["state"] == "reset"
    with pytest.raises(ConnectionResetError):
        request(held)
    assert request(other) == "b2"
    held.close()
    other.close()


def test_force_refuses_no_new_connection(net):
    """A slot must not name a backend that is closed already: the client would be refused."""
    def refused():
        return net.loom.api("GET", "/ebpf/stats")["reasons"]["no_backend"]["packets"]

    before = refused()
    with Load(net.client, VIP4, 80, "short", threads=16, rate=0) as load:
        for name in ("b1", "b2", "b3") * 5:
            net.loom.api("DELETE", f"/ebpf/backends/{net.loom.backend(host(net, name))['id']}?force=true")
            load.more(20)
            net.loom.api("POST", "/config/reload?reset=true")
            load.more(20)
    assert refused() == before
    # What is left are requests that were under way on the one that was cut.
    assert len(load.failures()) < 5 * 3 * 16


def test_force_selects_udp_anew(net):
    with net.client.datagram(family=2) as sock:
        sock.connect((VIP4, 53))
        first = ask(sock, (VIP4, 53))
        net.loom.api("DELETE", f"/ebpf/backends/{net.loom.backend(host(net, first), DNS_PORT)['id']}?force=true")
        second = ask(sock, (VIP4, 53))
        assert second != first
        assert {ask(sock, (VIP4, 53)) for _ in range(10)} == {second}


def test_every_backend_can_go_and_one_come_back(net):
    for name in ("b1", "b2", "b3"):
        net.loom.api("DELETE", f"/ebpf/backends/{net.loom.backend(host(net, name))['id']}?force=true")
    with pytest.raises(OSError):
        net.client.connect(VIP4, 80, timeout=1)
    net.loom.api("POST", "/ebpf/backends",
                 {"service": "web", "address": host(net, "b3").address4, "port": HTTP_PORT}, status=201)
    assert who(net.client, VIP4, 80)[0] == "b3"


def test_requests_on_survivors_live_when_a_backend_is_plainly_killed(net):
    with Load(net.client, VIP4, 80) as load:
        net.nginx["b3"].stop(9)
        load.more(300)
        net.loom.api("DELETE", f"/ebpf/backends/{net.loom.backend(host(net, 'b3'))['id']}?force=true")
        load.more(50)
        before = len(load.so_far()["failures"])
        load.more(300)
    net.nginx["b3"].start()
    # Without a health check new connections to the dead one are refused, or reset before their first answer:
    # the client never learned their backend.  Those that stood elsewhere all went on.
    assert {f["backend"] for f in load.failures()} <= {"b3", None}
    assert all("refused" in f["what"] or "reset" in f["what"] for f in load.failures() if f["backend"] is None), \
        load.failures()
    assert load.failures()[before:] == []


def test_a_long_answer_survives_a_change_of_its_table(net):
    """Flows of others are not disturbed by Maglev's recomputation: the table is for new ones only."""
    sizes = []
    with net.client.connect(VIP4, 80) as sock:
        sock.setsockopt(1, 8, 4096)  # SO_RCVBUF: the server waits for us
        sock.sendall(b"GET /blob HTTP/1.1\r\nHost: loom\r\nConnection: close\r\n\r\n")
        for weight in range(1, 21):
            net.loom.api("PATCH", f"/ebpf/backends/{net.loom.backend(net.hosts[0])['id']}", {"weight": weight * 7})
            sizes.append(len(sock.recv(8192)))
        while data := sock.recv(65536):
            sizes.append(len(data))
    assert sum(sizes) > 1 << 20


def test_an_echo_server_counts_in_the_statistics(net):
    host1 = net.hosts[0]
    echo = UdpEcho(host1, host1.address4, 7001)
    net.loom.config["services"].append({"name": "echo", "addresses": [VIP4], "protocol": "udp", "ports": [7001],
                                        "backends": [{"address": host1.address4, "port": 7001}]})
    try:
        net.reset()
        with net.client.datagram(family=2) as sock:
            sock.connect((VIP4, 7001))
            for number in range(10):
                sock.send(b"%d" % number)
                assert sock.recv(200).endswith(b" %d" % number)
        row = next(r for r in net.loom.api("GET", "/ebpf/backends/stats")["backends"]
                   if r["backend"] == f"{host1.address4}:7001")
        assert row["packets"] == {"to": 10, "from": 10}
        assert row["connections"]["total"] == 1
    finally:
        net.loom.config["services"].pop()
        echo.close()
