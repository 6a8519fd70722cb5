"""The daemon may die: the data path goes on, and the next daemon takes it over."""
import json
import signal

import pytest

from balancer import BUILD, serving
from lab import LabError, VIP4, run, until
from peers import DNS_PORT, Load, blob, who


@pytest.fixture(scope="module")
def net():
    with serving() as made:
        yield made


def programs(net):
    """The XDP program ids on the balancer's interfaces; 0 where there is none."""
    links = json.loads(run("ip", "-n", net.lb.name, "-j", "-d", "link", "show").stdout)
    return [link.get("xdp", {}).get("prog", {}).get("id", 0) for link in links if link["ifname"].startswith("lb")]


def slow_download(net):
    """A megabyte that takes some seconds."""
    return net.client.spawn("curl", "curl", "-sS", "--fail", "--limit-rate", "300k", "-o", net.lab.dir / "slow",
                            f"http://{VIP4}/blob")


def test_killing_the_daemon_fails_nothing_and_the_next_one_knows_all(net):
    ident = net.loom.backend(net.hosts[0])["id"]
    net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"weight": 50})
    removed = net.loom.backend(net.hosts[2], family=6)["id"]
    net.loom.api("DELETE", f"/ebpf/backends/{removed}")
    download = slow_download(net)
    with Load(net.client, VIP4, 80) as load, Load(net.client, VIP4, 53, "dns", 4, 200) as queries:
        load.more(300)
        before = net.loom.api("GET", "/ebpf/stats")
        net.loom.stop(signal.SIGKILL)
        load.more(500)
        queries.more(50)
        assert {who(net.client, VIP4, 80)[0] for _ in range(30)} == {"b1", "b2", "b3"}
        net.loom.start()
        after = net.loom.api("GET", "/ebpf/stats")
        load.more(300)
        queries.more(50)
    assert load.failures() == [] and queries.failures() == []
    assert download.wait(20) == 0
    assert (net.lab.dir / "slow").read_bytes() == blob()
    assert after["packets"]["forward"] > before["packets"]["forward"] > 0
    assert after["connections"]["total"] > before["connections"]["total"] > 0
    rows = {row["id"]: row for row in net.loom.api("GET", "/ebpf/backends")["backends"]}
    assert rows[ident]["weight"] == 50
    assert rows.get(removed, {"state": "removed"})["state"] == "removed"


def test_established_connections_survive_a_restart(net):
    with net.client.connect(VIP4, 80) as sock:
        for number in (signal.SIGKILL, signal.SIGTERM):
            sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
            assert b" 200 " in sock.recv(4096)
            net.loom.stop(number)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
            assert b" 200 " in sock.recv(4096)
            net.loom.start()
            port = sock.getsockname()[1]
            assert [row["state"] for row in net.loom.connections(client="10.9.0.2")
                    if row["client"].endswith(f":{port}")] == ["established"]


def test_restarts_in_a_row_under_load_fail_nothing(net):
    with Load(net.client, VIP4, 80) as load:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            net.loom.stop(number)
            load.more(50)
            net.loom.start()
            load.more(50)
    assert load.failures() == []


def test_a_backend_added_by_the_api_is_there_after_a_kill(net):
    row = net.loom.api("POST", "/ebpf/backends", {"service": "dns", "address": net.hosts[0].address4,
                                                  "port": DNS_PORT + 1, "weight": 0}, status=201)
    net.loom.stop(signal.SIGKILL)
    net.loom.start()
    found = next(b for b in net.loom.api("GET", "/ebpf/backends")["backends"] if b["id"] == row["id"])
    assert (found["address"], found["port"], found["weight"], found["origin"]) == (
        net.hosts[0].address4, DNS_PORT + 1, 0, "api")
    net.reset()


def test_a_configuration_changed_while_the_daemon_was_dead_comes_into_force(net):
    net.loom.stop(signal.SIGKILL)
    rows = net.loom.config["services"][0]["backends"]
    only = [row for row in rows if row["address"] == net.hosts[1].address4]
    net.loom.config["services"][0]["backends"] = only
    try:
        net.loom.write()
        net.loom.start()
        net.loom.api("POST", "/config/reload?reset=true")
        assert {who(net.client, VIP4, 80)[0] for _ in range(40)} == {"b2"}
    finally:
        net.loom.config["services"][0]["backends"] = rows
        net.reset()


def test_a_second_daemon_of_the_same_instance_does_no_harm(net):
    with Load(net.client, VIP4, 80) as load:
        second = net.lb.spawn("second", BUILD / "loomd", "run", "-c", net.loom.file)
        assert second.wait(10) != 0
        assert any("cannot" in line for line in second.lines), second.lines
        load.more(100)
        assert net.loom.api("GET", "/ready")["ready"] is True
    assert load.failures() == []


def test_a_daemon_that_shares_only_the_pins_does_no_harm(net):
    """Somebody tries out a file of his own: other state, other sockets, but the same instance."""
    mine = dict(net.loom.config, state_dir=str(net.lab.dir / "mine"), admin={"listen": "off", "socket": "off"})
    mine["services"] = [dict(mine["services"][0], backends=[{"address": "10.1.0.99", "port": 80}])]
    file = net.lab.dir / "mine.yaml"
    file.write_text(json.dumps(mine), encoding="utf-8")
    before = net.loom.map_dump("lb_services"), net.loom.map_dump("lb_reals")
    with Load(net.client, VIP4, 80) as load:
        load.more(50)
        second = net.lb.spawn("mine", BUILD / "loomd", "run", "-c", file)
        second.wait_line("ready|another loomd", 20)
        net.lab.end(second)
        load.more(100)
    assert any("another loomd" in line for line in second.lines), second.lines
    assert (net.loom.map_dump("lb_services"), net.loom.map_dump("lb_reals")) == before
    assert load.failures() == []


def held_by(net, name):
    """A connection to that backend."""
    for _ in range(50):
        sock = net.client.connect(VIP4, 80)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
        if name.encode() in sock.recv(1000):
            return sock
        sock.close()
    raise LabError(f"no connection to {name}")


def listed(net, ident):
    return ident in [row["id"] for row in net.loom.api("GET", "/ebpf/backends")["backends"]]


def test_what_happens_is_followed_though_it_cannot_be_saved(net):
    """A removed backend's last connection ends, and the disk is full (here: something stands in the file's place).
    What is asked for is refused meanwhile."""
    state = net.lab.dir / "state" / f"{net.loom.instance}.json"
    ident, other = (net.loom.backend(host)["id"] for host in net.hosts[:2])
    seen = len(net.loom.process.lines)
    with held_by(net, "b1"):
        net.loom.api("DELETE", f"/ebpf/backends/{ident}")
        state.unlink()
        state.mkdir()
        code, answer = net.loom.raw("PATCH", f"/ebpf/backends/{other}", '{"weight": 7}')
        assert code == 500 and b"the change was taken back" in answer
        assert net.loom.backend(net.hosts[1])["weight"] == 100
        assert listed(net, ident)
    until("the backend is gone", lambda: not listed(net, ident))
    said = [line for line in net.loom.process.lines[seen:] if "cannot save" in line]
    assert len(said) == 1 and "tried again" in said[0], said
    state.rmdir()
    until("the changes are saved", state.is_file, 30)
    net.reset()


def test_changes_that_cannot_be_read_are_kept_aside(net):
    state = net.lab.dir / "state" / f"{net.loom.instance}.json"
    net.loom.stop(signal.SIGKILL)
    state.write_text('{"version": 1, "changes": [{"change": "add', encoding="utf-8")
    net.loom.start()
    net.loom.api("PATCH", f"/ebpf/backends/{net.loom.backend(net.hosts[0])['id']}", {"weight": 7})
    assert json.loads(state.read_text(encoding="utf-8"))["changes"][0]["weight"] == 7
    assert state.with_name(state.name + ".bad").read_text(encoding="utf-8").endswith('"add')
    net.reset()


def answers(net):
    try:
        return net.loom.api("GET", "/ready")["ready"]
    except OSError:
        return False


def test_no_signal_of_a_write_ends_it(net):
    """Who reads its log has gone, or no file may grow: that is an error at most."""
    net.loom.stop(signal.SIGTERM)
    net.loom.process = net.lb.spawn("piped", "bash", "-c", 'ulimit -f 0; exec "$0" run -c "$1" 2> >(head -n 1)',
                                    BUILD / "loomd", net.loom.file)
    try:
        net.loom.process.wait_line("loomd", 20)
        until("ready", lambda: answers(net), 20)
        for _ in range(3):
            net.loom.process.send(signal.SIGHUP)
            net.loom.api("GET", "/ready")
        code, answer = net.loom.raw("PATCH", f"/ebpf/backends/{net.loom.backend(net.hosts[0])['id']}", '{"weight": 7}')
        assert code == 500 and b"the change was taken back" in answer
        assert answers(net)
    finally:
        net.loom.stop(signal.SIGKILL)
        net.loom.start()


def test_too_few_descriptors_are_said_not_found_out(net):
    net.loom.stop(signal.SIGTERM)
    try:
        said = net.lb.run("prlimit", "--nofile=64:64", BUILD / "loomd", "run", "-c", net.loom.file, check=False, timeout=20)
        assert said.returncode == 1 and "LimitNOFILE" in said.stderr
        assert who(net.client, VIP4, 80)[0] in ("b1", "b2", "b3")
    finally:
        net.loom.start()


def test_what_a_daemon_serves_is_not_detached_under_it(net):
    with Load(net.client, VIP4, 80) as load:
        load.more(50)
        said = net.lb.run(BUILD / "loomd", "detach", "-c", net.loom.file, check=False)
        assert said.returncode == 1 and "stop" in said.stderr, said
        assert all(programs(net))
        load.more(50)
    assert load.failures() == []


def test_sigterm_leaves_the_data_path_and_sigint_removes_it(net):
    assert net.loom.stop(signal.SIGTERM) == 0
    assert all(programs(net))
    assert who(net.client, VIP4, 80)[0] in ("b1", "b2", "b3")
    net.loom.start()
    assert net.loom.stop(signal.SIGINT) == 0
    assert not any(programs(net))
    net.loom.start()
    assert who(net.client, VIP4, 80)[0] in ("b1", "b2", "b3")


def test_detach_leaves_nothing_behind(net):
    links = run("bpftool", "-j", "link", "show").stdout
    net.loom.stop(signal.SIGKILL)
    assert all(programs(net))
    net.loom.detach()
    assert not any(programs(net))
    assert [path for path in net.loom.pins.rglob("*") if not path.is_dir()] == []
    gone = {link["id"] for link in json.loads(links)} - {
        link["id"] for link in json.loads(run("bpftool", "-j", "link", "show").stdout)}
    assert len(gone) >= len(net.topo.interfaces)
    # A plain network again: the address is the balancer's own, and nobody listens.
    with pytest.raises(ConnectionRefusedError):
        net.client.connect(VIP4, 80)
    net.loom.start()
    assert who(net.client, VIP4, 80)[0] in ("b1", "b2", "b3")
