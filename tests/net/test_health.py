"""Health checks against real servers: what fails leaves, what comes back returns, and nobody on the others notices."""
import socket
import time

import pytest

from balancer import serving
from lab import PATIENCE, VIP4, VIP6, run, until
from peers import DNS_PORT, HTTP_PORT, Load, UdpEcho, ask

TLS_PORT = 8443
UDP_PORT = 7000


@pytest.fixture(scope="module")
def net():
    with serving() as made:
        for server in made.nginx.values():
            (server.files / "healthz").write_text("well\n", encoding="ascii")
        made.plain = [dict(service) for service in made.loom.config["services"]]
        yield made


@pytest.fixture(autouse=True)
def as_configured(net):
    yield
    for server in net.nginx.values():
        (server.files / "healthz").write_text("well\n", encoding="ascii")
    net.loom.config["services"] = [dict(service) for service in net.plain]
    net.loom.config.pop("upstreams", None)
    net.loom.write()
    net.reset()


def checked(net, check=None, name="web", **health):
    """Puts a check on a service, and returns when every backend of it was checked once."""
    check = {"type": "http", "interval": "100ms", "timeout": "1s", "rise": 2, "fall": 2, "flap_window": "0s", **(check or {})}
    if check["type"] == "http":
        check.setdefault("path", "/healthz")
    net.loom.config["upstreams"] = [{"name": "probe", "check": check}]
    for service in net.loom.config["services"]:
        if service["name"] == name:
            service["health"] = {"upstream": "probe", **health}
    net.loom.write()
    net.loom.api("POST", "/config/reload")
    until("a first check of every backend", lambda: checks(net) and all(row["checks"] for row in checks(net)))


def checks(net):
    return net.loom.api("GET", "/ebpf/health")["backends"]


def of(net, host, port=HTTP_PORT, family=4):
    address = getattr(host, f"address{family}")
    return next(row for row in checks(net) if (row["address"], row["port"]) == (address, port))


def await_health(net, state, host, port=HTTP_PORT, timeout=PATIENCE):
    """Both of a host's addresses are found to be as said."""
    until(f"{host.short} {state}",
          lambda: all(of(net, host, port, family)["state"] == state for family in (4, 6)), timeout)


def await_out(net, host, port=HTTP_PORT):
    """Found unhealthy, and out of the tables: verdicts are committed together, a moment later."""
    await_health(net, "unhealthy", host, port)
    labels = [f"{host.address4}:{port}", f"[{host.address6}]:{port}"]
    until(f"{host.short} gets nothing new",
          lambda: all(net.loom.metric("loom_ebpf_backend_weight", backend=label) == 0 for label in labels))


def fail(net, host):
    """A 404 in place of the page, while everything else goes on."""
    (net.nginx[host.short].files / "healthz").unlink()


def mend(net, host):
    (net.nginx[host.short].files / "healthz").write_text("well\n", encoding="ascii")


def shares(net, requests=240, vip=VIP4):
    """How many of so many new connections each backend gets."""
    with Load(net.client, vip, 80, "short", threads=4, rate=0) as load:
        load.more(requests)
    assert load.failures() == []
    total = sum(load.by_backend().values())
    return {name: count / total for name, count in load.by_backend().items()}


# ---- failing over ----

@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_a_404_takes_a_backend_out_and_no_new_request_fails(net, vip):
    checked(net)
    with Load(net.client, vip, 80, "short") as load:
        fail(net, net.hosts[0])
        await_health(net, "unhealthy", net.hosts[0])
        load.more(300)
    assert load.failures() == []
    with Load(net.client, vip, 80, "short") as after:
        after.more(300)
    assert after.failures() == [] and set(after.by_backend()) == {"b2", "b3"}
    row = of(net, net.hosts[0])
    assert row["last_error"] == "status 404, not 200 to 399" and row["falls"] == 1
    assert "404" in net.loom.cli("health").stdout
    assert net.loom.backend(net.hosts[0])["health"]["state"] == "unhealthy"
    label = f"{net.hosts[0].address4}:{HTTP_PORT}"
    assert net.loom.metric("loom_ebpf_backend_healthy", backend=label, service="web") == 0
    assert net.loom.metric("loom_ebpf_backend_weight", backend=label, service="web") == 0
    assert net.loom.metric("loom_ebpf_health_checks_total", result="failure") >= 2


def test_a_server_that_is_gone_is_out_before_long(net):
    checked(net, {"type": "tcp"})
    net.nginx["b1"].stop()
    try:
        await_out(net, net.hosts[0])
        assert "refused" in of(net, net.hosts[0])["last_error"]
        assert set(shares(net)) == {"b2", "b3"}
    finally:
        net.nginx["b1"].start()
    await_health(net, "healthy", net.hosts[0])
    assert set(shares(net)) == {"b1", "b2", "b3"}


def test_a_host_that_is_silent_is_out_before_long(net):
    checked(net, {"type": "tcp", "timeout": "200ms"})
    net.topo.switch.ip("link set dev p1 down")
    try:
        await_out(net, net.hosts[0])
        assert set(shares(net)) == {"b2", "b3"}
    finally:
        net.topo.switch.ip("link set dev p1 up")
    await_health(net, "healthy", net.hosts[0])


# ---- what becomes of connections ----

def test_keep_lets_connections_go_on(net):
    checked(net, on_unhealthy="keep")
    with Load(net.client, VIP4, 80, "keep", threads=24) as load:
        load.more(200)
        fail(net, net.hosts[0])
        await_out(net, net.hosts[0])
        before = load.so_far()["by_backend"]["b1"]
        load.more(400)
    assert load.failures() == []
    assert load.by_backend()["b1"] > before + 40


def test_drain_cuts_connections_after_the_timeout(net):
    checked(net, on_unhealthy="drain", drain_timeout="2s")
    with Load(net.client, VIP4, 80, "keep", threads=24) as load:
        load.more(200)
        since = time.time()
        fail(net, net.hosts[0])
        await_health(net, "unhealthy", net.hosts[0])
        until("b1 is cut", lambda: of(net, net.hosts[0])["cut"])
        load.more(400)
    failures = load.failures()
    assert failures and {row["backend"] for row in failures} == {"b1"}
    assert all("reset" in row["what"].lower() for row in failures)
    assert min(row["at"] for row in failures) > since + 1.9
    assert set(shares(net)) == {"b2", "b3"}


def test_reset_cuts_connections_at_once(net):
    checked(net, on_unhealthy="reset")
    with Load(net.client, VIP4, 80, "keep", threads=24) as load:
        load.more(200)
        fail(net, net.hosts[0])
        await_health(net, "unhealthy", net.hosts[0])
        since = time.time()
        load.more(800)
    failures = load.failures()
    assert failures and {row["backend"] for row in failures} == {"b1"}
    assert all("reset" in row["what"].lower() for row in failures)
    assert max(row["at"] for row in failures) < since + 5
    # Each of its connections once; they went elsewhere and stayed there.
    assert len(failures) <= 24


def test_reset_leaves_the_connections_of_a_backend_that_came_back_alone(net):
    checked(net, on_unhealthy="reset")
    fail(net, net.hosts[0])
    await_health(net, "unhealthy", net.hosts[0])
    mend(net, net.hosts[0])
    await_health(net, "healthy", net.hosts[0])
    with Load(net.client, VIP4, 80, "keep", threads=24) as load:
        load.more(400)
    assert load.failures() == [] and load.by_backend()["b1"]


# ---- coming back ----

def test_flapping_is_damped(net):
    checked(net, {"flap_window": "60s"})
    for falls, needed in ((1, 2), (2, 4), (3, 8)):
        fail(net, net.hosts[0])
        await_health(net, "unhealthy", net.hosts[0])
        assert (of(net, net.hosts[0])["falls"], of(net, net.hosts[0])["needed"]) == (falls, needed)
        before = of(net, net.hosts[0])["checks"]
        mend(net, net.hosts[0])
        await_health(net, "healthy", net.hosts[0])
        assert of(net, net.hosts[0])["checks"] >= before + needed


def test_slow_start_gives_a_backend_little_at_first(net):
    checked(net, slow_start="16s")
    fail(net, net.hosts[0])
    await_health(net, "unhealthy", net.hosts[0])
    mend(net, net.hosts[0])
    await_health(net, "healthy", net.hosts[0])
    assert of(net, net.hosts[0])["withheld_permille"] > 900
    assert shares(net).get("b1", 0) < 0.15
    until("half of it", lambda: of(net, net.hosts[0])["withheld_permille"] < 500)
    assert 0.08 < shares(net)["b1"] < 0.36
    until("all of it", lambda: of(net, net.hosts[0])["withheld_permille"] == 0)
    assert 0.2 < shares(net)["b1"] < 0.5


def test_a_backend_that_the_api_adds_starts_slowly_and_is_checked(net):
    checked(net, slow_start="60s")
    row = net.loom.backend(net.hosts[2])
    net.loom.api("DELETE", f"/ebpf/backends/{row['id']}?force=true")
    net.loom.api("POST", "/ebpf/backends", {"address": net.hosts[2].address4, "port": HTTP_PORT, "service": "web"})
    until("its first check", lambda: of(net, net.hosts[2])["checks"])
    assert of(net, net.hosts[2])["withheld_permille"] > 900
    assert shares(net).get("b3", 0) < 0.15


# ---- when all fail ----

def test_with_too_few_healthy_backends_all_are_used(net):
    checked(net, min_healthy=50, on_unhealthy="reset")
    with Load(net.client, VIP4, 80) as load:
        for host in net.hosts:
            fail(net, host)
        until("panic", lambda: net.loom.api("GET", "/ebpf/health")["services"][0]["panic"])
        assert net.loom.metric("loom_ebpf_service_panic", service="web") == 1
        for host in net.hosts:
            await_health(net, "unhealthy", host)
        load.more(300)
    # The first to fall was cut while there were others; with the panic nobody is cut any more.
    with Load(net.client, VIP4, 80) as load:
        load.more(300)
    assert load.failures() == []
    assert set(load.by_backend()) == {"b1", "b2", "b3"}
    assert "panics" in net.loom.cli("health").stdout
    net.loom.process.wait_line("service web has too few healthy backends")
    for host in net.hosts:
        mend(net, host)
    net.loom.process.wait_line("service web has enough healthy backends again")
    assert net.loom.metric("loom_ebpf_service_panic", service="web") == 0


# ---- what outlives what ----

def test_a_reload_keeps_verdicts(net):
    checked(net)
    fail(net, net.hosts[0])
    await_health(net, "unhealthy", net.hosts[0])
    net.loom.config["upstreams"][0]["check"]["interval"] = "1h"
    net.loom.write()
    net.loom.api("POST", "/config/reload")
    assert of(net, net.hosts[0])["state"] == "unhealthy"
    assert set(shares(net)) == {"b2", "b3"}


def test_after_a_restart_backends_are_used_until_they_fail(net):
    checked(net)
    fail(net, net.hosts[0])
    await_out(net, net.hosts[0])
    with Load(net.client, VIP4, 80) as load:
        net.loom.stop()
        load.more(100)
        net.loom.start()
        await_out(net, net.hosts[0])
        load.more(100)
    assert load.failures() == []
    assert set(shares(net)) == {"b2", "b3"}


def test_removing_health_from_the_file_brings_everything_back(net):
    checked(net)
    fail(net, net.hosts[0])
    await_health(net, "unhealthy", net.hosts[0])
    net.loom.config["services"] = [dict(service) for service in net.plain]
    del net.loom.config["upstreams"]
    net.loom.write()
    net.loom.api("POST", "/config/reload")
    assert checks(net) == []
    assert set(shares(net)) == {"b1", "b2", "b3"}


def test_a_draining_backend_is_cut_at_its_deadline_and_stays(net):
    row = net.loom.backend(net.hosts[0])
    with Load(net.client, VIP4, 80, "keep", threads=24) as load:
        load.more(200)
        begun = time.time()
        net.loom.cli("backends", "drain", row["id"], "--deadline", "4s")
        assert net.loom.backend(net.hosts[0])["deadline_seconds"] in (1, 2, 3, 4)
        until("it is cut", lambda: net.loom.backend(net.hosts[0])["deadline_seconds"] == 0)
        load.more(800)
    failures = load.failures()
    assert failures and {entry["backend"] for entry in failures} == {"b1"}
    assert min(entry["at"] for entry in failures) > begun + 2.9
    assert net.loom.backend(net.hosts[0])["state"] == "draining"
    net.loom.cli("backends", "undrain", row["id"])
    assert net.loom.backend(net.hosts[0])["deadline_seconds"] is None
    assert set(shares(net)) == {"b1", "b2", "b3"}


# ---- other protocols ----

TLS = """daemon off;
user root;
pid {dir}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 100; }}
http {{
	access_log off;
	server {{
		listen 0.0.0.0:{port} ssl;
		listen [::]:{port} ssl;
		server_name www.loom.test;
		ssl_certificate {dir}/cert.pem;
		ssl_certificate_key {dir}/key.pem;
		location = / {{ return 200 "$ssl_server_name $host\\n"; }}
	}}
}}
"""


@pytest.fixture(scope="module")
def tls(net):
    """nginx with a certificate nobody has signed, on every backend."""
    for host in net.hosts:
        where = net.lab.dir / f"tls-{host.short}"
        where.mkdir()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=www.loom.test", "-keyout", where / "key.pem", "-out", where / "cert.pem")
        (where / "nginx.conf").write_text(TLS.format(dir=where, port=TLS_PORT), encoding="ascii")
        host.spawn("tls", "nginx", "-e", "stderr", "-p", where, "-c", where / "nginx.conf").wait_line(
            "start worker process ")


def test_https_asks_for_the_host_by_sni_at_each_backend(net, tls):
    checked(net, {"type": "https", "port": TLS_PORT, "path": "/", "host": "www.loom.test",
                  "expect": "www.loom.test"})
    for host in net.hosts:
        await_health(net, "healthy", host)
    assert of(net, net.hosts[0])["check_port"] == TLS_PORT


def test_https_trusts_no_stranger_when_told_to_verify(net, tls):
    checked(net, {"type": "https", "port": TLS_PORT, "path": "/", "host": "www.loom.test", "verify": True})
    for host in net.hosts:
        await_health(net, "unhealthy", host)
    until("the reason", lambda: "certificate" in of(net, net.hosts[0])["last_error"])


def test_udp_servers_are_asked(net):
    echoes = {host.short: [UdpEcho(host, address, UDP_PORT) for address in (host.address4, host.address6)]
              for host in net.hosts}
    checked(net, {"type": "udp", "port": UDP_PORT, "send": "knock", "expect": "knock"})
    for host in net.hosts:
        await_health(net, "healthy", host)
    for echo in echoes["b1"]:
        echo.close()
    await_out(net, net.hosts[0])
    assert set(shares(net)) == {"b2", "b3"}


# Last: the server it ends does not come back.
def test_dns_servers_are_asked(net):
    checked(net, {"type": "dns", "query": "www.loom.test"}, "dns")
    for host in net.hosts:
        await_health(net, "healthy", host, DNS_PORT)
    net.unbound["b3"].stop()
    await_out(net, net.hosts[2], DNS_PORT)
    assert "refused" in of(net, net.hosts[2], DNS_PORT)["last_error"]
    names = set()
    for _ in range(30):
        with net.client.datagram(family=socket.AF_INET) as sock:
            names.add(ask(sock, (VIP4, 53)))
    assert names == {"b1", "b2"}
