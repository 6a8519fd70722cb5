"""Direct server return, every mode: real servers that unwrap and answer the client without the balancer."""
import collections
import json
import signal

import pytest

from balancer import BUILD, serving, url
from direct import ALL_VIPS, EACH, VIPS, DirectSetup, each_id
from lab import family_of, run, until, url_host
from peers import DNS_PORT, HTTP_PORT, Load, ask, blob, curl, who

each = pytest.mark.parametrize("mode, vip", EACH, ids=each_id)
each_mode = pytest.mark.parametrize("mode", VIPS)


@pytest.fixture(scope="module")
def net():
    with serving(DirectSetup) as made:
        yield made


def name_from_dns(net, vip):
    with net.client.datagram(family=family_of(vip)) as sock:
        sock.connect((vip, DNS_PORT))
        return ask(sock, (vip, DNS_PORT))


def ids_of(net, name, host=None):
    return [row["id"] for row in net.loom.api("GET", "/ebpf/backends")["backends"]
            if row["service"] == name and (host is None or row["address"] in (host.address4, host.address6))]


@each
def test_every_backend_answers_and_sees_the_client(net, mode, vip):
    answers = [who(net.client, vip, HTTP_PORT) for _ in range(60)]
    names = collections.Counter(name for name, _, _ in answers)
    assert set(names) == {"b1", "b2", "b3"}
    assert {address for _, address, _ in answers} == {"10.9.0.2" if ":" not in vip else "fd09::2"}
    assert {name_from_dns(net, vip) for _ in range(40)} == {"b1", "b2", "b3"}


@each
def test_a_megabyte_each_way_is_unharmed(net, mode, vip, tmp_path):
    (tmp_path / "up").write_bytes(blob()[::-1])
    name = f"put/{mode}-{len(vip)}"
    for _ in range(3):
        curl(net.client, url(vip, "/blob", HTTP_PORT), "-o", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == blob()
    curl(net.client, url(vip, "/" + name, HTTP_PORT), "-T", tmp_path / "up")
    stored = [server.files / name for server in net.nginx.values() if (server.files / name).exists()]
    assert [path.read_bytes() == blob()[::-1] for path in stored] == [True]


def test_each_mode_wraps_as_it_says(net):
    expected = {("ipip", 4): "ipip", ("ipip", 6): "ip6ip6", ("gue", 4): "gue", ("gue", 6): "gue", ("4in6", 4): "ip4in6"}

    def wrapped(kind):
        return sum(one.packets(kind) for one in net.decap.values())

    for (mode, family), kind in expected.items():
        before = wrapped(kind)
        # A service of both families has backends of both; each carries IPv4.
        for _ in range(16):
            who(net.client, VIPS[mode][family == 6], HTTP_PORT)
        assert wrapped(kind) > before
    for kind in ("malformed", "no_vip"):
        assert wrapped(kind) == 0


def test_the_balancer_sees_no_answer(net, tmp_path):
    """Its own path back carries nothing: the byte counts tell."""
    before = int(run("ip", "netns", "exec", net.lb.name, "cat", "/sys/class/net/lb0/statistics/tx_bytes").stdout)
    curl(net.client, url(VIPS["ipip"][0], "/blob", HTTP_PORT), "-o", tmp_path / "down")
    after = int(run("ip", "netns", "exec", net.lb.name, "cat", "/sys/class/net/lb0/statistics/tx_bytes").stdout)
    assert after - before < 10000


@each
def test_an_open_connection_is_listed_as_established(net, mode, vip):
    with net.client.connect(vip, HTTP_PORT) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
        assert b"200 OK" in sock.recv(1000)
        port = sock.getsockname()[1]

        def mine():
            return [row for row in net.loom.connections()
                    if row["client"].endswith(f":{port}") and row["service_address"] == f"{url_host(vip)}:{HTTP_PORT}"]

        rows = until("it is listed", mine)
        assert [row["state"] for row in rows] == ["established"], rows
        assert rows[0]["backend"].endswith(f":{HTTP_PORT}")
    until("its end is seen", lambda: [row["state"] for row in mine()] in ([], ["fin_wait"], ["closed"], ["time_wait"]))


@each_mode
def test_backends_come_and_go_under_load(net, mode):
    vip = VIPS[mode][-1]
    ids = {host.short: ids_of(net, f"web-{mode}", host)[-1] for host in net.hosts}
    with Load(net.client, vip, HTTP_PORT, renew=20) as load, \
            Load(net.client, vip, DNS_PORT, "dns", 4, 200) as queries:
        load.more(100)
        net.loom.api("PATCH", f"/ebpf/backends/{ids['b1']}", {"weight": 0})
        load.more(200)
        net.loom.api("PATCH", f"/ebpf/backends/{ids['b1']}", {"weight": 100})
        net.loom.api("DELETE", f"/ebpf/backends/{ids['b2']}")
        load.more(200)
        net.reset()
        load.more(200)
    assert load.failures() == [] and queries.failures() == []
    assert set(load.by_backend()) == {"b1", "b2", "b3"}


def test_a_weight_of_zero_takes_no_new_connection(net):
    for mode, vip in EACH:
        for ident in ids_of(net, f"web-{mode}", net.hosts[0]):
            net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"weight": 0})
        assert {who(net.client, vip, HTTP_PORT)[0] for _ in range(40)} == {"b2", "b3"}
    net.reset()


@each_mode
def test_draining_keeps_what_is_open_and_a_cut_resets_it(net, mode):
    vip = VIPS[mode][-1]
    with net.client.connect(vip, HTTP_PORT) as sock:
        sock.sendall(b"GET /who HTTP/1.1\r\nHost: loom\r\n\r\n")
        name = sock.recv(1000).partition(b"\r\n\r\n")[2].decode().split()[0]
        host = net.hosts[int(name[1]) - 1]
        for ident in ids_of(net, f"web-{mode}", host):
            net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"state": "draining"})
        assert name not in {who(net.client, vip, HTTP_PORT)[0] for _ in range(30)}
        sock.sendall(b"GET /who HTTP/1.1\r\nHost: loom\r\n\r\n")
        assert name.encode() in sock.recv(1000)
        for ident in ids_of(net, f"web-{mode}", host):
            net.loom.api("DELETE", f"/ebpf/backends/{ident}?force=true")
        sock.settimeout(3)
        with pytest.raises(ConnectionResetError):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
            sock.recv(1000)
    net.reset()


def test_killing_the_daemon_fails_nothing(net):
    loads = [Load(net.client, VIPS[mode][0], HTTP_PORT, threads=4, rate=200) for mode in VIPS]
    for load in loads:
        load.__enter__()
    try:
        net.loom.stop(signal.SIGKILL)
        for load in loads:
            load.more(150)
        net.loom.start()
        for load in loads:
            load.more(100)
    finally:
        for load in loads:
            load.__exit__(None)
    assert [load.failures() for load in loads] == [[]] * len(loads)


def test_doctor_and_the_backends_check_have_no_complaint(net):
    said = net.topo.lb.run(BUILD / "loom", "doctor", "-c", net.loom.file, "--json", check=False)
    rows = [row for row in json.loads(said.stdout) if row["severity"] == "problem"]
    assert rows == [], rows
    for one in net.decap.values():
        assert one.findings() == ([], 0)


def test_ports_that_no_service_has_are_left_alone(net):
    for vip in ALL_VIPS:
        with pytest.raises(OSError):
            net.client.connect(vip, 81, timeout=0.5)


@pytest.fixture(scope="module")
def stateless():
    with serving(DirectSetup, conntrack={"enabled": False}) as made:
        yield made


@each
def test_without_a_connection_table(stateless, mode, vip, tmp_path):
    net = stateless
    curl(net.client, url(vip, "/blob", HTTP_PORT), "-o", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == blob()
    assert {who(net.client, vip, HTTP_PORT)[0] for _ in range(40)} == {"b1", "b2", "b3"}
    assert net.loom.connections() == []
    with Load(net.client, vip, HTTP_PORT, renew=10) as load:
        load.more(200)
        net.loom.stop(signal.SIGKILL)
        load.more(100)
        net.loom.start()
        load.more(100)
    assert load.failures() == []
