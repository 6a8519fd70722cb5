"""Metrics, readiness and the tool, against a daemon that serves."""
import json

import pytest

from balancer import serving
from lab import VIP4, run
from peers import Load, who

NAMES = ["loom_ebpf_packets_total", "loom_ebpf_bytes_total", "loom_ebpf_connections_active",
         "loom_ebpf_connections_total", "loom_ebpf_backend_packets_total",
         "loom_ebpf_backend_connections_active", "loom_ebpf_errors_total"]


@pytest.fixture(scope="module")
def net():
    with serving(backends=2) as made:
        yield made


def test_promtool_finds_nothing_wrong_with_the_metrics(net):
    who(net.client, VIP4, 80)
    status, text = net.loom.raw("GET", "/metrics")
    assert status == 200
    checked = run("promtool", "check", "metrics", text=text.decode(), check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for name in NAMES:
        assert f"\n{name}" in "\n" + text.decode(), name


def test_counters_count_what_went_through(net):
    host = net.hosts[0]
    before = net.loom.metric("loom_ebpf_packets_total", action="forward")
    names = [who(net.client, VIP4, 80)[0] for _ in range(50)]
    assert net.loom.metric("loom_ebpf_packets_total", action="forward") - before >= 50 * 8
    rows = {row["backend"]: row for row in net.loom.api("GET", "/ebpf/backends/stats")["backends"]}
    row = rows[f"{host.address4}:8080"]
    assert row["connections"]["total"] >= names.count("b1")
    assert row["packets"]["to"] >= 4 * names.count("b1") and row["bytes"]["from"] > row["packets"]["from"] * 60


def test_health_and_readiness(net):
    assert net.loom.api("GET", "/health") == {"status": "ok"}
    assert net.loom.api("GET", "/ready")["ready"] is True


def test_the_api_answers_on_loopback_too(net):
    said = net.lb.run("curl", "-sS", "--fail", "http://127.0.0.1:9091/ebpf/stats").stdout
    assert {row["mode"] for row in json.loads(said)["interfaces"]} == {"native"}


def test_the_tool_lists_and_changes_backends_under_load(net):
    with Load(net.client, VIP4, 80) as load:
        assert "b" in net.loom.cli("status").stdout
        rows = json.loads(net.loom.cli("backends", "--json").stdout)["backends"]
        assert len(rows) == 8
        ident = net.loom.backend(net.hosts[0])["id"]
        net.loom.cli("backends", "weight", str(ident), "7")
        assert net.loom.backend(net.hosts[0])["weight"] == 7
        net.loom.cli("backends", "drain", str(ident))
        assert net.loom.backend(net.hosts[0])["state"] == "draining"
        load.more(50)
        for verb in ("conns", "stats", "services"):
            assert net.loom.cli(verb).stdout
        refused = net.loom.cli("backends", "rm", "4242", check=False)
        assert refused.returncode == 1 and "4242" in refused.stderr
    assert load.failures() == []
