"""A new configuration by SIGHUP and by the API; a bad one changes nothing."""
import signal

import pytest

from balancer import serving
from lab import VIP4
from peers import HTTP_PORT, Load, who


@pytest.fixture(scope="module")
def net():
    with serving(dns_servers=False) as made:
        yield made


def names(net, port=80, count=40):
    return {who(net.client, VIP4, port)[0] for _ in range(count)}


def by_signal(net):
    seen = len(net.loom.process.lines)
    net.loom.process.send(signal.SIGHUP)
    return net.loom.process.wait_line("reload", 10, seen)


def by_api(net):
    return str(net.loom.api("POST", "/config/reload"))


def by_restart(net):
    """As an operator does who edits the file and restarts the service."""
    net.loom.stop(signal.SIGTERM)
    net.loom.start()


@pytest.fixture(params=[by_signal, by_api, by_restart], ids=["SIGHUP", "POST", "restart"])
def reload(request, net):
    rows = list(net.loom.config["services"][0]["backends"])
    yield request.param
    net.loom.config["services"][0].update(ports=[80], backends=rows)
    net.reset()


def test_the_difference_is_applied_under_load(net, reload):
    service = net.loom.config["services"][0]
    without = [row for row in service["backends"] if row["address"] != net.hosts[0].address4]
    with Load(net.client, VIP4, 80) as load:
        net.loom.config["services"][0]["backends"] = without
        net.loom.write()
        reload(net)
        load.more(100)
        assert names(net) == {"b2", "b3"}
        net.loom.config["services"][0]["ports"] = [80, 81]
        net.loom.write()
        reload(net)
        assert names(net, 81) == {"b2", "b3"}
        load.more(100)
    # Nobody else's requests failed; what the removed one's connections may expect is the next test's.
    assert [f for f in load.failures() if f["backend"] != "b1"] == []


def test_connections_to_a_backend_that_left_the_file_go_on(net, reload):
    service = net.loom.config["services"][0]
    with Load(net.client, VIP4, 80, "keep", threads=12) as load:
        load.more(100)
        assert "b1" in load.so_far()["by_backend"]
        service["backends"] = [row for row in service["backends"] if row["address"] != net.hosts[0].address4]
        net.loom.write()
        reload(net)
        load.more(200)
    assert load.failures() == []


def test_the_api_changes_outlive_a_reload_unless_reset(net):
    ident = net.loom.backend(net.hosts[0])["id"]
    net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"weight": 7})
    net.loom.api("POST", "/config/reload")
    assert net.loom.backend(net.hosts[0])["weight"] == 7
    net.loom.api("POST", "/config/reload?reset=true")
    assert net.loom.backend(net.hosts[0])["weight"] == 100


BAD = [
    ("not YAML", "services: [", ""),
    ("an unknown key", "servces: []\n", "services"),
    ("a weight out of range", None, "weight"),
    ("two services on one address", None, ""),
]


@pytest.mark.parametrize("name,text,hint", BAD, ids=[row[0] for row in BAD])
def test_a_bad_file_changes_nothing_and_says_why(net, name, text, hint):
    before = net.loom.api("GET", "/services"), net.loom.map_dump("lb_services"), net.loom.api("GET", "/config")
    service = net.loom.config["services"][0]
    backend = service["backends"][0]
    if name == "a weight out of range":
        backend["weight"] = 65536
    if name == "two services on one address":
        net.loom.config["services"].append({**service, "name": "again"})
    try:
        net.loom.write(text)
        answer = net.loom.api("POST", "/config/reload", status=422)
        assert answer["error"]["code"] == "invalid_config"
        assert hint in answer["error"]["message"]
        if name != "two services on one address":
            assert f"{net.loom.file}:" in answer["error"]["message"]
        seen = len(net.loom.process.lines)
        net.loom.process.send(signal.SIGHUP)
        net.loom.process.wait_line("cannot reload", 10, seen)
        after = net.loom.api("GET", "/services"), net.loom.map_dump("lb_services"), net.loom.api("GET", "/config")
        assert after == before
        assert names(net) == {"b1", "b2", "b3"}
    finally:
        backend.pop("weight", None)
        del net.loom.config["services"][1:]
        net.reset()


def test_a_service_that_is_gone_is_no_longer_served_and_its_connections_end(net):
    net.loom.config["services"].append({"name": "extra", "addresses": [VIP4], "protocol": "tcp", "ports": [82],
                                        "backends": [{"address": net.hosts[0].address4, "port": HTTP_PORT}]})
    net.reset()
    assert names(net, 82, 3) == {"b1"}
    net.loom.config["services"].pop()
    net.reset()
    with pytest.raises(ConnectionRefusedError):
        net.client.connect(VIP4, 82)


def test_an_interface_that_cannot_be_had_changes_nothing(net):
    """Another program is on it: neither its other half of the file nor anything else comes into force."""
    service = net.loom.config["services"][0]
    before = {row["id"]: row["state"] for row in net.loom.api("GET", "/ebpf/backends")["backends"]}
    net.lb.ip("link add taken type veth peer name other")
    net.lab.host_end(net.lb, "taken")
    net.loom.config["ebpf"]["xdp"]["interface"] = ["lb0", "taken", "lb1"]
    rows = service["backends"]
    service["backends"] = rows[1:]
    net.loom.write()
    try:
        assert "cannot attach to taken" in str(net.loom.api("POST", "/config/reload", status=409))
        assert {row["id"]: row["state"] for row in net.loom.api("GET", "/ebpf/backends")["backends"]} == before
        assert [row["name"] for row in net.loom.api("GET", "/ebpf/stats")["interfaces"]] == ["lb0", "lb1"]
        assert names(net) == {"b1", "b2", "b3"}
    finally:
        service["backends"] = rows
        net.loom.config["ebpf"]["xdp"]["interface"] = ["lb0", "lb1"]
        net.lb.ip("link del taken")
        net.reset()


def in_mode(net, mode):
    """The service in another mode."""
    service = net.loom.config["services"][0]
    if mode != "dsr":
        return dict(service, mode="nat", nat=mode)
    return {"name": service["name"], "addresses": service["addresses"], "ports": service["ports"], "protocol": "tcp",
            "mode": "dsr", "encap": "ipip", "backends": [{"address": row["address"]} for row in service["backends"]]}


@pytest.mark.parametrize("before, after", [("full", "destination"), ("destination", "full"), ("full", "dsr"),
                                           ("destination", "dsr")])
@pytest.mark.parametrize("how", [by_api, by_restart])
def test_another_mode_is_for_new_connections(net, before, after, how):
    original = net.loom.config["services"]
    net.loom.config["services"] = [in_mode(net, before)]
    net.reset()
    try:
        with Load(net.client, VIP4, 80, "keep", threads=12) as load:
            load.more(100)
            net.loom.config["services"] = [in_mode(net, after)]
            net.loom.write()
            how(net)
            load.more(200)
            if after != "dsr":  # whose backends would have to unwrap
                assert names(net) == {"b1", "b2", "b3"}
        assert load.failures() == []
    finally:
        net.loom.config["services"] = original
        net.reset()
