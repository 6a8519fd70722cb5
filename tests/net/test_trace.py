"""Traces: what they say about single packets, that they cost no packet, and that nothing of them stays."""
import base64
import json
import signal

import pytest

from balancer import BUILD, UnixConnection, serving
from lab import VIP4, VIP6, LabError, family_of, run, until
from peers import HTTP_PORT, Load, ask, ping, who


class Trace:
    """GET /ebpf/trace as a client that reads while it goes on."""

    def __init__(self, loom, **query):
        self.connection = UnixConnection(loom.socket, 30)
        query.setdefault("duration", "30s")
        self.connection.request("GET", "/ebpf/trace?" + "&".join(f"{k}={v}" for k, v in query.items()))
        self.answer = self.connection.getresponse()
        self.lines = []
        if self.answer.status != 200:
            raise LabError(self.answer.read().decode())

    def read(self):
        """The next line; None after the last."""
        line = self.answer.readline()
        return json.loads(line) if line else None

    def all(self):
        rows = list(iter(self.read, None))
        return rows[:-1], rows[-1]

    def until(self, wanted):
        for row in iter(self.read, None):
            if wanted(row):
                return row
        raise LabError("the trace ended before")

    def close(self):
        self.answer.close()
        self.connection.close()


def traced(net):
    """The attached programs that trace."""
    while True:
        said = net.lb.run("ip", "-j", "link", "show").stdout
        programs = {row["xdp"]["prog"]["id"] for row in json.loads(said) if row["ifname"] in net.topo.interfaces}
        shown = [run("bpftool", "-j", "prog", "show", "id", str(number), check=False) for number in programs]
        maps = {row["id"]: row.get("name") for row in json.loads(run("bpftool", "-j", "map", "show").stdout)}
        if all(one.returncode == 0 for one in shown):  # else they were replaced meanwhile
            rows = [json.loads(one.stdout) for one in shown]
            return [row["id"] for row in rows if "lb_trace" in (maps.get(number) for number in row["map_ids"])]


def untraced(net):
    until("the untraced program", lambda: not traced(net))


@pytest.fixture(scope="module")
def net():
    with serving(backends=2) as made:
        yield made


def test_a_connection_from_its_first_packet_to_its_last(net):
    trace = Trace(net.loom, address=VIP4, port=80)
    name = who(net.client, VIP4, 80)[0]
    host = next(host for host in net.hosts if host.short == name)
    rows = [trace.read()]
    while rows[-1]["state"] not in ("time_wait", "closed"):
        rows.append(trace.read())
    trace.close()
    untraced(net)
    first = rows[0]
    assert first["tcp_flags"] == "SYN" and first["new"] is True and first["state"] == "syn_sent"
    assert first["direction"] == "to_backend" and first["service"] == "web" and first["mode"] == "nat_full"
    assert first["backend"] == f"{host.address4}:8080" and first["backend_id"] == net.loom.backend(host)["id"]
    assert (first["action"], first["reason"]) == ("forward", "forwarded")
    assert first["destination"] == f"{VIP4}:80" and first["interface"] in net.topo.interfaces
    assert all(row["action"] == "forward" and row["new"] is (row is first) for row in rows)


def test_tracing_costs_no_request(net):
    assert not traced(net)
    with Load(net.client, VIP4, 80) as load:
        for _ in range(5):
            trace = Trace(net.loom, limit=100)
            assert traced(net)
            load.more(50)
            rows, end = trace.all()
            assert len(rows) == 100 and end["why"] == "limit" and end["lost"] == 0
            assert not traced(net)
            load.more(50)
    assert load.failures() == []


FILTERS = [
    ({"proto": "udp"}, lambda row: row["protocol"] == "udp"),
    ({"proto": "tcp", "address": VIP6}, lambda row: VIP6 in row["destination"] or row["direction"] == "to_client"),
    ({"port": 53}, lambda row: row["protocol"] == "udp"),
    ({"address": "10.9.0.0/24"}, lambda row: ":" not in row["source"].rpartition(":")[0]),
]


@pytest.mark.parametrize("query,fits", FILTERS, ids=["proto", "IPv6 address", "port", "network"])
def test_a_filter_lets_through_what_it_says_in_both_directions(net, query, fits):
    trace = Trace(net.loom, duration="1s", **query)
    who(net.client, VIP4, 80)
    who(net.client, VIP6, 80)
    with net.client.datagram(family=family_of(VIP4)) as sock:
        ask(sock, (VIP4, 53))
    rows, end = trace.all()
    assert rows and all(fits(row) for row in rows)
    assert {"to_client", "to_backend"} <= {row["direction"] for row in rows}
    assert end["matched"] == len(rows) < end["seen"]


def test_a_backend_and_its_service(net):
    host = net.hosts[1]
    ident = net.loom.backend(host)["id"]
    trace = Trace(net.loom, duration="1s", backend=ident)
    names = [who(net.client, VIP4, 80)[0] for _ in range(20)]
    rows, _ = trace.all()
    assert sum(row["new"] for row in rows) == names.count(host.short)
    assert {(row["backend_id"], row["service"]) for row in rows} == {(ident, "web")}


def test_why_a_packet_is_not_balanced(net):
    """The question asked at 3 a.m."""
    trace = Trace(net.loom)
    with pytest.raises(ConnectionRefusedError):
        net.client.connect(VIP4, 81)
    row = trace.until(lambda row: row["destination"] == f"{VIP4}:81")
    assert (row["action"], row["reason"], row["backend"], row["state"]) == ("pass", "not_ours", None, None)
    assert row["meaning"] == "No service on this port"
    ping(net.client, "10.9.0.1", 56)
    row = trace.until(lambda row: row["protocol"] == "icmp")
    assert (row["action"], row["reason"], row["destination"]) == ("pass", "not_ours", "10.9.0.1")
    trace.close()
    untraced(net)


def test_drops_alone(net):
    ident = net.loom.api("POST", "/ebpf/backends", {"service": "web", "address": "10.1.0.99", "port": HTTP_PORT,
                                                    "weight": 65535})["id"]
    try:
        until("a backend that nobody is", lambda: next(
            row for row in net.loom.api("GET", "/ebpf/backends")["backends"] if row["id"] == ident)
            ["next_hop"]["state"] != "resolved")
        trace = Trace(net.loom, only="drops", limit=1)
        for _ in range(50):
            try:
                net.client.connect(VIP4, 80, timeout=0.05).close()
            except OSError:
                break
        rows, _ = trace.all()
        assert (rows[0]["action"], rows[0]["reason"]) in {("drop", "no_neighbour"), ("drop", "no_route")}
        assert rows[0]["backend_id"] == ident and rows[0]["tcp_flags"] == "SYN"
    finally:
        net.loom.api("DELETE", f"/ebpf/backends/{ident}?force=true")
        until("the backend's end", lambda: ident not in [
            row["id"] for row in net.loom.api("GET", "/ebpf/backends")["backends"]])


def test_sampling(net):
    trace = Trace(net.loom, duration="2s", port=80, sample=10)
    with Load(net.client, VIP4, 80) as load:
        load.more(300)
        rows, end = trace.all()
    # Each CPU counts for itself.
    assert abs(len(rows) - end["matched"] / 10) < 3 and end["matched"] > 500
    assert end["sent"] == len(rows)


BAD = [("duration", "0s"), ("duration", "2h"), ("duration", "10"), ("address", "10.0.0.1/8"), ("address", "x"),
       ("port", "0"), ("port", "65536"), ("proto", "sctp"), ("backend", "0"), ("only", "passes"), ("sample", "0"),
       ("limit", "-1"), ("frames", "1"), ("colour", "red")]


@pytest.mark.parametrize("name,value", BAD)
def test_what_makes_no_sense_is_refused(net, name, value):
    answer = net.loom.api("GET", f"/ebpf/trace?{name}={value}", status=400)
    assert answer["error"]["field"] == name and answer["error"]["code"] == "bad_request"
    assert not traced(net)


def test_there_is_one_trace_at_a_time(net):
    trace = Trace(net.loom)
    answer = net.loom.api("GET", "/ebpf/trace", status=409)
    assert "somebody else" in answer["error"]["message"]
    trace.close()
    untraced(net)
    Trace(net.loom, duration="1s").all()
    assert net.loom.raw("HEAD", "/ebpf/trace")[0] == 200 and not traced(net)


def test_a_client_that_goes_ends_the_trace(net):
    for _ in range(3):
        trace = Trace(net.loom, port=9)  # nothing to tell: the daemon has no write that could fail
        assert traced(net)
        trace.close()
        untraced(net)
    net.loom.process.wait_line("trace ended: client")


def test_a_trace_outlives_changes(net):
    trace = Trace(net.loom, port=80)
    ident = net.loom.backend(net.hosts[0])["id"]
    net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"weight": 50})
    net.loom.config["services"][0]["algorithm"] = "round_robin"  # another specialisation
    net.loom.write()
    net.loom.api("POST", "/config/reload")
    assert traced(net)
    who(net.client, VIP4, 80)
    assert trace.read()["tcp_flags"] == "SYN"
    trace.close()
    untraced(net)
    del net.loom.config["services"][0]["algorithm"]
    net.reset()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_daemon_that_starts_does_not_trace(net, number):
    trace = Trace(net.loom, proto="icmp")
    ping(net.client, "10.9.0.1", 56)
    assert trace.read()["event"] == "packet"
    with Load(net.client, VIP4, 80) as load:
        net.loom.stop(number)
        try:
            if number == signal.SIGTERM:
                assert not traced(net)
                assert trace.all()[1]["why"] == "shutdown"
            load.more(50)
        finally:
            net.loom.start()
        assert not traced(net)
        load.more(50)
    assert load.failures() == []
    trace.close()
    net.settled()


def test_what_does_not_fit_is_counted(net):
    trace = Trace(net.loom, port=80)
    with Load(net.client, VIP4, 80, rate=2000) as load:
        net.loom.process.send(signal.SIGSTOP)
        try:
            load.more(1500)
        finally:
            net.loom.process.send(signal.SIGCONT)
    assert load.failures() == []
    lost = net.loom.api("GET", "/ebpf/stats")["reasons"]["trace_lost"]["packets"]
    assert lost > 0
    trace.close()
    untraced(net)


def tool(net, *argv):
    process = net.lb.spawn("loom", BUILD / "loom", "--socket", net.loom.socket, "trace", *argv)
    until("the traced program", lambda: traced(net))
    return process


def test_the_tool_prints_a_line_a_packet_and_ends_by_ctrl_c(net):
    process = tool(net, "--port", "80", "--duration", "1m")
    who(net.client, VIP4, 80)
    line = process.wait_line(r"tcp SYN  .*forward  forwarded  web .*syn_sent new$")
    assert f" {VIP4}:80 " in line
    process.wait_line("tcp FIN,ACK")
    process.send(signal.SIGINT)
    assert process.wait() == 0
    assert process.wait_line(r"^loom: \d+ packets$")
    untraced(net)


def test_the_tool_prints_json_and_counts(net):
    process = tool(net, "--json", "--count", "3", "--port", "80")
    who(net.client, VIP4, 80)
    assert process.wait() == 0
    rows = [json.loads(line) for line in process.lines]
    assert [row["event"] for row in rows] == ["packet"] * 3 + ["end"]


def test_a_capture_is_what_tshark_reads(net, tmp_path):
    file = tmp_path / "trace.pcapng"
    process = tool(net, "-w", str(file), "--duration", "2s")
    name = who(net.client, VIP4, 80)[0]
    who(net.client, VIP6, 80)
    with pytest.raises(ConnectionRefusedError):
        net.client.connect(VIP4, 81)
    assert process.wait() == 0
    fields = ["frame.interface_name", "ip.dst", "tcp.dstport", "tcp.flags.syn", "tcp.flags.ack", "frame.comment"]
    said = run("tshark", "-r", str(file), "-T", "fields", *(x for field in fields for x in ("-e", field))).stdout
    rows = [line.split("\t") for line in said.splitlines()]
    first = next(row for row in rows if row[1:5] == [VIP4, "80", "1", "0"])
    assert first[0] in net.topo.interfaces
    host = next(host for host in net.hosts if host.short == name)
    assert f"service=web backend={net.loom.backend(host)['id']} ({host.address4}:8080)" in first[5]
    assert first[5].startswith("forward: forwarded") and first[5].endswith("state=syn_sent new")
    passed = next(row for row in rows if row[1:3] == [VIP4, "81"])
    assert passed[5] == "pass: not_ours (No service on this port)"
    # Nothing malformed, and frames as they came: whole where they are short.
    bad = run("tshark", "-r", str(file), "-Y", "_ws.malformed").stdout
    assert bad == ""
    times = run("tshark", "-r", str(file), "-T", "fields", "-e", "frame.time_epoch").stdout.split()
    assert len(times) == len(rows) and len(times[0].partition(".")[2]) == 9


def test_frames_are_as_they_came(net):
    trace = Trace(net.loom, port=80, frames="true")
    who(net.client, VIP4, 80)
    row = trace.read()
    frame = base64.b64decode(row["frame"])
    assert len(frame) == row["length"] and frame[12:14] == b"\x08\0"
    assert ".".join(map(str, frame[30:34])) == VIP4  # not yet the backend's
    trace.close()
    untraced(net)
