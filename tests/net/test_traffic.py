"""Real clients and servers: both families, TCP and UDP, both NAT modes, two arms and one."""
import collections
import json

import pytest

from balancer import backends, serving, url
from lab import VIP4, VIP6, family_of, until
from peers import ask, blob, curl, who

KINDS = [("two-armed", "full"), ("two-armed", "destination"), ("one-armed", "full"), ("one-armed", "destination")]
both_families = pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def net(request):
    wiring, nat = request.param
    with serving(one_armed=wiring == "one-armed", nat=nat) as made:
        made.nat = nat
        # One backend alone: iperf3's connections belong together.
        made.loom.config["services"].append(
            {"name": "perf", "addresses": [VIP4, VIP6], "protocol": ["tcp", "udp"], "ports": [5201], "nat": nat,
             "backends": backends(made.hosts[:1], 5201)})
        made.reset()
        yield made


def seen_as(net, vip):
    """The address that a backend sees a client come from."""
    if net.nat == "destination":
        return "10.9.0.2" if vip == VIP4 else "fd09::2"
    return "10.1.0.1" if vip == VIP4 else "fd01::1"


@both_families
def test_connections_spread_over_all_backends(net, vip):
    answers = [who(net.client, vip, 80) for _ in range(120)]
    names = collections.Counter(name for name, _, _ in answers)
    assert set(names) == {"b1", "b2", "b3"}
    # 40 each are expected, with a standard deviation of 5.2.
    assert min(names.values()) >= 18, names


@both_families
def test_the_backend_sees_the_client_or_the_balancer(net, vip):
    source = ("", 41000) if vip == VIP4 else ("::", 41000)
    _, address, port = who(net.client, vip, 80, source)
    assert address == seen_as(net, vip)
    if net.nat == "destination":
        assert port == 41000


@both_families
def test_a_megabyte_comes_down_unharmed(net, vip, tmp_path):
    for number in range(4):
        out = tmp_path / str(number)
        curl(net.client, url(vip, "/blob"), "-o", out)
        assert out.read_bytes() == blob()


@both_families
def test_a_megabyte_goes_up_unharmed(net, vip, tmp_path):
    source = tmp_path / "up"
    source.write_bytes(blob()[::-1])
    for number in range(4):
        name = f"put/{net.nat}-{len(vip)}-{number}"
        curl(net.client, url(vip, "/" + name), "-T", source)
        stored = [server.files / name for server in net.nginx.values() if (server.files / name).exists()]
        assert [path.read_bytes() == source.read_bytes() for path in stored] == [True]


@both_families
def test_dns_answers_come_from_all_servers(net, vip):
    names = collections.Counter()
    for _ in range(90):
        with net.client.datagram(family=family_of(vip)) as sock:
            sock.connect((vip, 53))
            query = (vip, 53)
            names[ask(sock, query)] += 1
    assert set(names) == {"b1", "b2", "b3"}
    assert min(names.values()) >= 12, names


@both_families
def test_one_udp_socket_stays_with_one_server(net, vip):
    with net.client.datagram(family=family_of(vip)) as sock:
        sock.connect((vip, 53))
        assert len({ask(sock, (vip, 53)) for _ in range(20)}) == 1


def test_udp_answers_as_large_as_a_frame_arrive(net):
    host = net.hosts[0]
    assert net.loom.api("GET", "/services")
    server = host.datagram(host.address4, 5201)
    with server, net.client.datagram(family=2) as sock:
        sock.connect((VIP4, 5201))
        sock.send(bytes(1472))
        data, peer = server.recvfrom(2000)
        server.sendto(data, peer)
        assert sock.recv(2000) == bytes(1472)


def test_udp_without_a_checksum_stays_without_one(net):
    host = net.hosts[0]
    with host.datagram(host.address4, 5201) as server, net.client.datagram(family=2) as sock:
        sock.setsockopt(1, 11, 1)  # SO_NO_CHECK
        server.setsockopt(1, 11, 1)
        sock.connect((VIP4, 5201))
        sock.send(b"unsummed")
        data, peer = server.recvfrom(100)
        server.sendto(data + b" back", peer)
        assert sock.recv(100) == b"unsummed back"


@both_families
def test_dnsperf_loses_nothing(net, vip):
    queries = net.lab.dir / "queries"
    queries.write_text("www.loom.test A\nwho.loom.test TXT\nwww.loom.test AAAA\n", encoding="ascii")
    said = net.client.run("dnsperf", "-s", vip, "-p", 53, "-d", queries, "-c", 20, "-Q", 3000, "-l", 1, "-t", 3).stdout
    assert "Queries lost:         0 (0.00%)" in said, said
    assert "NOERROR" in said


@both_families
def test_wrk_reports_no_error(net, vip):
    said = net.client.run("wrk", "-t1", "-c20", "-d1s", url(vip)).stdout
    assert "Requests/sec" in said
    assert "Socket errors" not in said and "Non-2xx" not in said, said


@both_families
def test_iperf3_gets_its_bytes_through(net, vip):
    bind = net.hosts[0].address4 if vip == VIP4 else net.hosts[0].address6
    server = net.hosts[0].spawn("iperf3", "iperf3", "-s", "-1", "-B", bind, "--forceflush")
    server.wait_line("Server listening")
    done = json.loads(net.client.run("iperf3", "-c", vip, "-t", 1, "-J").stdout)
    assert done["end"]["sum_received"]["bytes"] > 20e6
    net.lab.end(server)
    server = net.hosts[0].spawn("iperf3", "iperf3", "-s", "-1", "-B", bind, "--forceflush")
    server.wait_line("Server listening")
    dropped = net.loom.api("GET", "/ebpf/stats")["packets"]["drop"]
    done = json.loads(net.client.run("iperf3", "-c", vip, "-u", "-b", "10M", "-t", 1, "-J").stdout)
    assert net.loom.api("GET", "/ebpf/stats")["packets"]["drop"] == dropped
    # On a busy machine iperf3 itself does not keep up with reading.
    assert done["end"]["sum"]["lost_percent"] < 25
    net.lab.end(server)


@both_families
def test_the_connection_is_listed_with_all_its_addresses(net, vip):
    with net.client.connect(vip, 80) as sock:
        port = sock.getsockname()[1]
        address = sock.getsockname()[0]
        # connect() returns before its last ACK has passed the balancer.
        mine = until("the established connection", lambda: [
            row for row in net.loom.connections(client=address, state="established")
            if row["client"].endswith(f":{port}")])
        assert len(mine) == 1
        row = mine[0]
        brackets = "[{}]" if ":" in vip else "{}"
        assert row["client"] == f"{brackets.format(address)}:{port}"
        assert row["service_address"] == f"{brackets.format(vip)}:80"
        assert row["source"].startswith(brackets.format(seen_as(net, vip)) + ":")
        assert row["backend"].endswith(":8080")
        assert (row["protocol"], row["state"]) == ("tcp", "established")
        backend = next(b for b in net.loom.api("GET", "/ebpf/backends")["backends"] if b["id"] == row["backend_id"])
        assert row["backend"] == f"{brackets.format(backend['address'])}:8080"


def test_a_connection_that_ended_is_no_longer_established(net):
    with net.client.connect(VIP4, 80) as sock:
        port = sock.getsockname()[1]
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while sock.recv(4096):
            pass
    rows = until("the connection's end", lambda: [
        row for row in net.loom.connections(client="10.9.0.2")
        if row["client"].endswith(f":{port}") and row["state"] in ("time_wait", "closed")])
    assert len(rows) == 1


def test_options_in_the_ip_header_do_not_matter(net):
    said = net.client.socket(family_of(VIP4), 1)
    with said as sock:
        sock.settimeout(5)
        # Timestamp option, room for one; and three bytes of no-operation.
        sock.setsockopt(0, 4, bytes([68, 8, 5, 0, 0, 0, 0, 0]))
        sock.connect((VIP4, 80))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 " in sock.recv(4096)


