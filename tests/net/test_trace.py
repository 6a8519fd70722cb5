"""Traces: what they say about single packets, that they cost no packet, and that nothing of them stays."""
import base64
import json
import socket
import threading

import pytest

from balancer import UnixConnection, serving
from lab import VIP4, VIP6, LabError, run, until
from peers import Load, who


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
        self.connection.close()


def program(net):
    return {row["program_id"] for row in net.loom.api("GET", "/ebpf/stats")["interfaces"]}


def traced_maps():
    """Ring buffers of traces anywhere on this machine."""
    return [row["id"] for row in json.loads(run("bpftool", "-j", "map", "show").stdout) if row.get("name") == "lb_trace"]


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
    first = rows[0]
    assert first["tcp_flags"] == "SYN" and first["new"] is True and first["state"] == "syn_sent"
    assert first["direction"] == "to_backend" and first["service"] == "web" and first["mode"] == "nat_full"
    assert first["backend"] == f"{host.address4}:8080" and first["backend_id"] == net.loom.backend(host)["id"]
    assert (first["action"], first["reason"]) == ("forward", "forwarded")
    assert first["destination"] == f"{VIP4}:80" and first["interface"] in net.topo.interfaces
    assert all(row["action"] == "forward" and row["new"] is (row is first) for row in rows)
