"""loom decap: a backend unwraps what a balancer sends, and answers the client directly."""
import json
import socket

import pytest

from balancer import BUILD, url
from decap import Decap, DirectReturn, ipv4, udp, wrap
from lab import VIP4, VIP6, Lab, run, until
from peers import HTTP_PORT, Nginx, UdpEcho, blob, curl, who

KINDS = [("ipip", VIP4), ("ip4in6", VIP4), ("ip6ip6", VIP6), ("gue4", VIP4), ("gue4", VIP6), ("gue6", VIP4),
         ("gue6", VIP6), ("gue4-0", VIP4), ("gue6-0", VIP6)]
ECHO_PORT = 7007


def counter(kind):
    return "gue" if kind.startswith("gue") else kind


@pytest.fixture(scope="module")
def net():
    with Lab() as lab:
        made = DirectReturn(lab, [VIP4, VIP6])
        Nginx(made.backend)
        for vip in (VIP4, VIP6):
            UdpEcho(made.backend, vip, ECHO_PORT)
        yield made


@pytest.fixture(params=["native", "generic"])
def decap(net, request):
    made = Decap(net.backend, "e0", [VIP4, VIP6], mode=request.param).start()
    yield made
    made.detach()


@pytest.fixture
def native(net):
    made = Decap(net.backend, "e0", [VIP4, VIP6]).start()
    yield made
    made.detach()


def echo(net, vip, text=b"hello", timeout=3.0):
    """What the echo server answers to a datagram from the client."""
    with net.client.datagram(family=socket.AF_INET6 if ":" in vip else socket.AF_INET) as sock:
        sock.settimeout(timeout)
        sock.connect((vip, ECHO_PORT))
        sock.send(text)
        return sock.recv(4096)


def is_silent(net, vip):
    try:
        echo(net, vip, timeout=0.3)
    except (socket.timeout, ConnectionRefusedError):
        return True
    return False


@pytest.mark.parametrize("kind, vip", KINDS)
def test_a_datagram_and_a_megabyte_each_way(net, decap, kind, vip, tmp_path):
    net.wrapper.kind = kind
    before = decap.packets(counter(kind))
    assert echo(net, vip).startswith(b"b1 10.9.0.2 " if vip == VIP4 else b"b1 fd09::2 ")
    assert decap.packets(counter(kind)) == before + 1
    assert who(net.client, vip, HTTP_PORT)[:2] == ("b1", "10.9.0.2" if vip == VIP4 else "fd09::2")
    curl(net.client, url(vip, "/blob", HTTP_PORT), "-o", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == blob()
    curl(net.client, url(vip, "/put/up", HTTP_PORT), "-T", tmp_path / "down")
    curl(net.client, url(vip, "/put/up", HTTP_PORT), "-o", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == blob()
    shown = decap.show()["counters"]
    assert shown[counter(kind)]["packets"] > before + 500
    assert shown["malformed"]["packets"] == shown["no_vip"]["packets"] == shown["congested"]["packets"] == 0


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_without_it_nothing_is_unwrapped_and_detaching_leaves_nothing(net, mode):
    net.wrapper.kind = "ipip"
    assert is_silent(net, VIP4)
    made = Decap(net.backend, "e0", [VIP4], mode=mode).start()
    assert net.xdp() and made.pins.exists()
    assert echo(net, VIP4)
    made.detach()
    assert not net.xdp() and not made.pins.exists()
    assert is_silent(net, VIP4)
    assert made.detach().stdout == "detached from 0 interfaces\n"
    assert made.cli("--show", check=False).returncode == 1


def test_the_vips_are_replaced_while_the_rest_goes_on(net, native):
    net.wrapper.kind = "ipip"
    with net.client.datagram(family=socket.AF_INET) as sock:
        sock.connect((VIP4, ECHO_PORT))
        for number in range(30):
            # In flight while it is replaced; every one is answered.
            for part in range(8):
                sock.send(b"%d/%d" % (number, part))
            native.start([VIP4] if number % 2 == 0 else [VIP4, VIP6])
            assert sorted(sock.recv(512).split()[-1] for _ in range(8)) == [b"%d/%d" % (number, n) for n in range(8)]
    native.start([VIP4])
    assert native.packets("ipip") >= 240
    net.wrapper.kind = "ip6ip6"
    assert is_silent(net, VIP6)
    assert native.packets("no_vip") == 1
    assert native.show()["vips"] == [VIP4]


def test_what_is_not_for_a_vip_passes(net, native):
    """Also packets that the kernel has no use for: it says so itself."""
    with net.sender.connect(net.backend.address4, HTTP_PORT) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(4096)
    with net.sender.entered():
        listener = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with listener:
        listener.settimeout(3)
        stranger = ipv4("10.9.0.2", "10.0.0.99", 17, udp(1, 2, b"x"))
        net.wrapper.send(ipv4("10.1.0.1", net.backend.address4, 4, stranger))
        answer = listener.recv(4096)
        assert answer[20:22] == b"\x03\x02"  # protocol unreachable
        assert answer[28 + 20:].startswith(stranger[:28])
    assert native.packets("no_vip") == 1
    inner = ipv4("10.9.0.2", VIP4, 17, udp(1, ECHO_PORT, b"x"))
    net.wrapper.send(ipv4("172.16.0.1", "10.1.0.12", 4, inner))
    net.wrapper.send(wrap(inner, "ipip", VIP4, ""))  # a client's own encapsulation
    until("they are counted", lambda: native.packets("not_host") == 2)
    net.wrapper.send(wrap(inner, "ipip", net.backend.address4, "")[:-1])
    until("it is counted", lambda: native.packets("malformed") == 1)
    assert native.packets("ipip") == 0


def test_a_congestion_mark_reaches_the_receiver(net, native):
    with net.backend.datagram(VIP4, 7008) as server:
        server.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
        for inner_tos, outer_tos, seen in ((2, 0, 2), (2, 3, 3), (0, 0, 0)):
            inner = ipv4("10.9.0.2", VIP4, 17, udp(9, 7008, b"x"), tos=inner_tos)
            net.wrapper.send(wrap(inner, "ipip", net.backend.address4, "", tos=outer_tos))
            _, said, _, _ = server.recvmsg(100, 100)
            assert said[0][2][0] & 3 == seen
        net.wrapper.send(wrap(inner, "ipip", net.backend.address4, "", tos=3))
        until("it is counted", lambda: native.packets("congested") == 1)


def test_another_program_or_a_missing_interface_is_told_and_changes_nothing(net, native):
    net.backend.ip(f"link set dev e1 xdpdrv pinned {net.lab.bpf}/xdp_pass")
    try:
        for other, said in (("e1", "another XDP program"), ("nope", "no such interface")):
            done = native.cli("--iface", "e0", "--iface", other, "--vip", "10.0.0.77", check=False)
            assert done.returncode == 1 and said in done.stderr
            assert native.show()["vips"] == [VIP4, VIP6]
            assert [row["name"] for row in native.show()["interfaces"]] == ["e0"]
            net.wrapper.kind = "ipip"
            assert echo(net, VIP4)
        native.detach()
        done = native.cli("--iface", "e0", "--iface", "e1", "--vip", VIP4, check=False)
        assert done.returncode == 1
        assert not native.pins.exists() and not net.xdp()
    finally:
        net.backend.ip("link set dev e1 xdpdrv off")


def test_interfaces_come_and_go(net, native):
    both = Decap(net.backend, ["e1", "e0"], [VIP4]).start()
    assert {row["name"] for row in both.show()["interfaces"]} == {"e0", "e1"}
    native.start([VIP4])
    assert net.xdp("e0") and not net.xdp("e1")
    done = native.cli("--iface", "e0", "--vip", VIP4, "--mode", "generic", check=False)
    assert done.returncode == 1 and "native mode" in done.stderr


@pytest.mark.parametrize("argv", [[], ["--iface", "e0"], ["--vip", VIP4], ["--show", "--detach"],
                                  ["--show", "--vip", VIP4], ["--iface", "e0", "--vip", "10.0.0"],
                                  ["--iface", "e0", "--vip", "127.0.0.1"], ["--iface", "e0", "--vip", "224.0.0.1"],
                                  ["--iface", "e0", "--iface", "e0", "--vip", VIP4],
                                  ["--iface", "e0", "--vip", VIP4, "--mode", "offload"],
                                  ["--iface", "e0", "--vip", VIP4, "--gue-port", "0"]])
def test_a_command_line_that_makes_no_sense_does_nothing(net, argv):
    done = net.backend.run(BUILD / "loom", "decap", "--pin-path", net.lab.bpf / "never", *argv, check=False)
    assert done.returncode == 2 and "loom help decap" in done.stderr
    assert not (net.lab.bpf / "never").exists()


def test_a_directory_that_is_no_bpffs_is_refused(net, tmp_path):
    done = net.backend.run(BUILD / "loom", "decap", "--pin-path", tmp_path / "d", "--iface", "e0", "--vip", VIP4,
                           check=False)
    assert done.returncode == 1 and "not on a BPF filesystem" in done.stderr
    assert not (tmp_path / "d").exists()


# What is done to the backend, the check that finds it, on what, the exit status, how the check's remedy is undone.
WRONG = [
    ("ip addr del 10.0.0.1/32 dev lo", "address", VIP4, 1, None),
    ("ip addr del fd00::1/128 dev lo", "address", VIP6, 1, None),
    ("ip addr add 10.0.0.1/24 dev lo; ip addr del 10.0.0.1/32 dev lo", "address", VIP4, 0, None),
    ("ip addr del 10.0.0.1/32 dev lo; ip addr add 10.0.0.1/32 dev e0", "address", VIP4, 0, None),
    ("ip addr del fd00::1/128 dev lo; ip addr add fd00::1/128 dev e0 nodad", "address", VIP6, 0, None),
    ("sysctl -w net.ipv4.conf.e0.rp_filter=1", "rp_filter", "e0", 1, "sysctl -w net.ipv4.conf.e0.rp_filter=0"),
    ("sysctl -w net.ipv4.conf.all.rp_filter=1", "rp_filter", "e0", 1,
     "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.e0.rp_filter=0"),
    ("sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.e0.arp_ignore=0", "arp", "e0", 0, None),
    ("sysctl -w net.ipv4.conf.all.arp_announce=0 net.ipv4.conf.e0.arp_announce=0", "arp", "e0", 0, None),
    ("ip link set dev e0 down", "interface", "e0", 0, None),
]


@pytest.mark.parametrize("wrong, check, subject, status, undo", WRONG, ids=[row[0] for row in WRONG])
def test_the_check_finds_what_is_wrong_and_its_remedy_helps(net, wrong, check, subject, status, undo):
    made = Decap(net.backend, "e0", [VIP4, VIP6])
    assert made.findings() == ([], 0)
    net.backend.run("sh", "-ec", wrong)
    try:
        findings, code = made.findings()
        assert [(row["check"], row["subject"]) for row in findings if row["check"] != "service"] == [(check, subject)]
        assert code == status
    finally:
        net.backend.run("sh", "-ec", [row["remedy"] for row in findings if row["check"] == check][0])
        if "e0 down" in wrong:  # IPv6 addresses go with it
            net.backend.ip("addr replace fd01::11/64 dev e0 nodad")
            until("carrier", lambda: made.findings() == ([], 0))
    assert made.findings() == ([], 0)
    if undo:
        net.backend.run("sh", "-ec", undo)


def test_the_check_finds_that_nothing_listens_and_a_missing_interface(net):
    net.backend.ip("addr add 10.0.0.5/32 dev lo")
    made = Decap(net.backend, "e7", ["10.0.0.5"])
    findings, code = made.findings()
    assert [row["check"] for row in findings] == ["interface"] and code == 1  # nginx listens on every address
    with Lab() as other:
        bare = other.namespace("b9")
        bare.ip("addr add 10.0.0.5/32 dev lo")
        findings, code = Decap(bare, "lo", ["10.0.0.5"]).findings()
        assert [row["check"] for row in findings if row["check"] != "arp"] == ["service"] and code == 0
    net.backend.ip("addr del 10.0.0.5/32 dev lo")


def test_strict_reverse_path_filtering_loses_what_the_check_says(net, native):
    net.wrapper.kind = "ipip"
    net.backend.sysctl("net/ipv4/conf/e0/rp_filter", 1)
    try:
        assert is_silent(net, VIP4)
        # Where the default route leaves by the interface itself, all is well.
        assert Decap(net.backend, "e1", [VIP4]).findings() == ([], 0)
        net.backend.run("sh", "-ec", native.findings()[0][0]["remedy"])
        assert echo(net, VIP4)
    finally:
        net.backend.sysctl("net/ipv4/conf/e0/rp_filter", 0)


def test_the_set_up_warns(net):
    made = Decap(net.backend, "e0", ["10.0.0.6"])
    try:
        done = made.cli("--iface", "e0", "--vip", "10.0.0.6")
        assert done.returncode == 0
        assert "problem: 10.0.0.6: this host does not have the address" in done.stderr
        done = made.cli("--iface", "e0", "--vip", "10.0.0.6", "--json")
        assert done.stderr == ""
        assert "address" in [row["check"] for row in json.loads(done.stdout)["findings"]
                             if row["severity"] == "problem"]
    finally:
        made.detach()


def test_an_interface_that_has_gone_is_shown_and_replaced(net):
    net.lab.pair(net.backend, "x0", net.sender, "x1")
    made = Decap(net.backend, "x0", [VIP4]).start()
    net.backend.ip("link del x0")
    assert made.show()["interfaces"] == [{"name": "x0", "mode": "gone"}]
    net.lab.pair(net.backend, "x0", net.sender, "x1")
    made.start()
    assert made.show()["interfaces"] == [{"name": "x0", "mode": "native"}]
    made.detach()
    net.backend.ip("link del x0")
    assert run("ip", "-n", net.backend.name, "link", "show", "x0", check=False).returncode != 0
