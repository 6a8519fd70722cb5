"""What is told when something is wrong: what this kernel can do, what was, who moved what, what a client would see."""
import contextlib
import json
import os
import re
import signal

import pytest

from lab import until
from steering import PORT, Nginx, SteerLoom, Unbound, group, reads_group, steer_lab

POLICIES = {"hash", "weighted", "random", "least_loaded", "source_hash", "cpu_local", "wireguard", "quic", "bytes",
            "generation"}


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@contextlib.contextmanager
def running(net, *groups, **steering):
    loom = SteerLoom(net, list(groups), **steering)
    loom.start()
    try:
        yield loom
    finally:
        loom.stop()
        loom.detach()
        for file in (net.lab.dir / "state").iterdir():
            file.unlink()


def history(loom):
    return loom.api("GET", "/steer/groups/g/history")["windows"]


def audit(loom):
    return loom.api("GET", "/steer/groups/g/audit")["transitions"]


@reads_group
def test_every_policy_is_seen_to_work_by_whoever_may_do_all(net):
    with running(net, group()) as loom:
        can = loom.api("GET", "/steer/capabilities")["capabilities"]
        assert set(can["policies"]) == POLICIES
        for name, found in {**can["policies"], **can["features"]}.items():
            assert (found["possible"], found["probed"], found["missing"]) == (True, True, None), name
        assert can["rights"]["CAP_BPF"] is True
        assert re.search(r"policies +least_loaded +yes", loom.steer("capabilities").stdout)


def test_the_history_has_each_members_windows_those_of_one_that_died_among_them(net):
    server = net.python("udp", 2)
    with running(net, group()) as loom, net.load("echo", rate=500) as load:
        loom.settled(2)
        until("a window", lambda: any(len(one["members"]) == 2 for one in history(loom)))
        server.send(1, signal.SIGKILL)
        until("one member", lambda: len(loom.members()) == 1)
        ghosts = until("the dead one's last window", lambda: [
            row for one in history(loom) for row in one["members"] if row["gone"]])
        assert {row["pid"] for row in ghosts} == {server.workers[1]}
        rows = [row for one in history(loom) for row in one["members"]]
        assert {row["pid"] for row in rows} == set(server.workers.values())
        assert sum(row["packets"] for row in rows) > 500
        assert {row["state"] for row in rows} == {"active"}
        assert "slot 0" in loom.steer("history", "g").stdout
    # Each lane has one that is not answered, at most.
    assert sum(row["packets"] for row in rows) <= load.final["requests"] + 100, load.complaint()
    server.stop()


def test_the_audit_log_tells_moves_oldest_first_and_of_its_own_group(net):
    server = net.python("udp", 2)
    with running(net, group(), group(name="other", port=PORT + 1)) as loom:
        loom.settled(2)
        for state in ("shadow", "canary", "enforced"):
            loom.rollout(state, reason=f"to {state}")
        loom.rollout("shadow", "other", reason="not this one's")
        moves = [row for row in audit(loom) if row["to"]]
        assert [(row["from"].split()[0], row["to"].split()[0].split(":")[0]) for row in moves[-3:]][0] == (
            "observe", "shadow")
        assert [row["reason"] for row in moves[-3:]] == ["to shadow", "to canary", "to enforced"]
        assert {row["actor"] for row in moves[-3:]} == {"operator"}
        assert len(moves[-1]["numbers"]["members"]) == 2
        assert isinstance(moves[-1]["at"], int)
        # What a crash cut is passed over.
        with open(net.lab.dir / "state" / "s1.audit.jsonl", "a", encoding="ascii") as file:
            file.write('{"group":"g","event":')
        assert [row["reason"] for row in audit(loom) if row["to"]][-1] == "to enforced"
        assert "to enforced" in loom.steer("audit", "g").stdout
    server.stop()


def guard(**more):
    return {"window": "500ms", "cooldown": "5s", **more}


def test_the_probe_asks_http_and_sees_a_server_that_does_not_answer(net):
    server = Nginx(net, 2)
    probing = guard(probe={"type": "http", "interval": "20ms", "timeout": "1s"})
    with running(net, group("tcp", guard=probing)) as loom:
        loom.settled(2)
        found = loom.until("a p99", lambda one: one["probe_p99_ns"])
        assert 0 < found["probe_p99_ns"] < 1_000_000_000 and found["probe_failures"] == 0
        pids = {row["pid"] for row in loom.members()}
        pids |= {int(pid) for one in pids for pid in net.host.run("pgrep", "-P", one, check=False).stdout.split()}
        # A connection that is closed with something unread is reset: the probe reads all.
        assert found["resets"] == 0
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        loom.until("probes that fail", lambda one: one["probe_failures"] > 2)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    server.stop()


def test_the_probe_asks_dns_in_the_groups_own_namespace(net):
    server = Unbound(net, 2)
    other = net.lab.namespace("elsewhere")
    probing = guard(probe={"type": "dns", "interval": "20ms", "query": "loom.test."})
    loom = SteerLoom(net, [group(netns=f"pid:{server.pid}", guard=probing)], prefix=[*other.command()])
    with contextlib.ExitStack() as stack:
        stack.callback(loom.detach)
        loom.start()
        stack.callback(loom.stop)
        found = loom.until("a p99", lambda one: one["probe_p99_ns"])
        assert found["probe_failures"] == 0
    server.stop()


def test_a_connect_probe_is_no_load_and_fails_where_nobody_listens(net):
    server = net.python("tcp", 2)
    probing = guard(probe={"type": "connect", "interval": "20ms", "address": "127.0.0.9"})
    with running(net, group("tcp", guard=probing)) as loom:
        loom.settled(2)
        loom.until("probes that fail", lambda one: one["probe_failures"] > 2)
    server.stop()


def test_the_applications_number_moves_a_policy_back(net):
    server = net.python("udp", 2)
    file = net.lab.dir / "metric"
    file.write_text("1.5\n", encoding="ascii")
    rules = {"metric": {"threshold": 10, "windows": 1}}
    with running(net, group(policy="weighted", guard=guard(metric=str(file), rules=rules))) as loom:
        loom.settled(2)
        loom.rollout("enforced")
        with net.load("echo", rate=500) as load:
            load.more(1000)
            assert loom.group()["state"] == "enforced"
            file.write_text("12.25\n", encoding="ascii")
            found = loom.until("shadow", lambda one: one["state"] == "shadow")
        assert "metric" in found["last"]["reason"], json.dumps(found["last"])
    server.stop()


def test_resets_are_counted_when_a_listener_dies_and_only_then(net):
    server = net.python("tcp", 2)
    with running(net, group("tcp")) as loom:
        loom.settled(2)
        loom.ask("detach")  # or what waits would go to the other one
        server.send(1, signal.SIGSTOP)
        with net.load("line", lanes=40, timeout=5000) as load:
            until("a full queue", lambda: max(net.queues(PORT)) > 10)
            assert loom.group()["resets"] == 0
            server.send(1, signal.SIGKILL)
            load.more(200)
        assert load.final["reset"] > 10
        found = loom.until("resets", lambda one: one["resets"] >= load.final["reset"])
        assert found["resets"] <= load.final["reset"] * 3 + 20
    server.stop()
