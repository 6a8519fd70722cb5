"""The guard: few heavy senders are told and spread, a policy that hurts is taken back and stays back, one that does
not is left alone."""
import contextlib
import datetime
import json
import signal

import pytest

from lab import LabError, until
from steering import PORT, READS_GROUP, SteerLoom, group, reads_group, steer_lab

HEAVY, LIGHT = (2400, 1200), (100, 100, 100, 100)  # requests a second of each source
WINDOW_S = 0.3

# Byte 20 of a padded echo is '.', 0x2e, whose bit 4 is not set: every datagram names slot 0.
ALL_TO_ONE = {"name": "bytes", "offset": 20, "mask": 16}


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@pytest.fixture(scope="module")
def server(net):
    with net.python("udp") as made:
        yield made


def guard(**more):
    return {"window": f"{int(WINDOW_S * 1000)}ms", "cooldown": "1s", "min_selections": 50, **more}


def audit(loom, name="g"):
    return loom.api("GET", f"/steer/groups/{name}/audit")["transitions"]


def at(loom, actor, to):
    """When the log itself says that the actor first moved the group there: to the millisecond, and with its date."""
    for line in (loom.state / f"{loom.instance}.audit.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["actor"] == actor and row.get("to", "").startswith(to):
            return datetime.datetime.fromisoformat(row["at"].replace("Z", "+00:00")).timestamp()
    raise LabError(f"the audit log has no move to {to} by {actor}")


def balance(loom, loads, count=1500):
    """(max over mean, Jain's index) of what the members got while so many requests came; the same as it is shown; and
    the heaviest sender's share."""
    def counts():
        return [row["kernel"]["packets"] + row["selected"]["packets"] for row in loom.members()]
    sent = [load.so_far()["requests"] for load in loads]
    before = counts()
    until("enough traffic", lambda: sum(counts()) - sum(before) > count)
    got = [b - a for a, b in zip(before, counts())]
    shown = loom.group()
    sent = [load.so_far()["requests"] - one for load, one in zip(loads, sent)]
    return (max(got) * 4 / sum(got), sum(got) ** 2 / (4 * sum(one * one for one in got)),
            shown["max_over_mean_permille"] / 1000, shown["jain_permille"] / 1000,
            max(sent) / sum(sent))


def test_a_few_heavy_senders_are_spread_and_the_difference_is_shown(net, server, record_property):
    found = {}
    with contextlib.ExitStack() as stack, \
            SteerLoom(net, [group(policy="source_hash", members=[{"any": True}],
                                  guard={"enabled": False, "window": "1s"})]) as loom:
        loom.settled(4)
        loads = [stack.enter_context(net.load("echo", rate=rate, lanes=4)) for rate in HEAVY + LIGHT]
        for policy in ("source_hash", "weighted", "random"):
            assert loom.ask("policy", name=policy)["state"] != "enforced"
            loom.rollout("enforced")
            found[policy] = balance(loom, loads)
            if policy != "source_hash":
                # A sample is a quarter of a window: chance makes some of them uneven, not all.
                loom.until("it is shown as even", lambda row: row["max_over_mean_permille"] < 1250 and
                           row["jain_permille"] > 950)
    assert not any(load.failed() for load in loads), [load.complaint() for load in loads]
    for policy, (most, jain, shown_most, shown_jain, _) in found.items():
        record_property(f"{policy}_max_over_mean", round(most, 2))
        record_property(f"{policy}_jain", round(jain, 3))
        print(f"few heavy senders, {policy}: max/mean {most:.2f}, Jain {jain:.3f}; "
              f"shown as {shown_most:.2f} and {shown_jain:.3f}")
    # The heaviest sender's member has all of that sender's.
    most, jain, shown_most, shown_jain, heaviest = found["source_hash"]
    assert heaviest > 0.4 and most > 0.85 * 4 * heaviest and jain < 0.75
    assert shown_most > 1.5 and shown_jain < 0.8
    for policy in ("weighted", "random"):
        assert found[policy][0] < 1.2 and found[policy][1] > 0.97


def test_a_policy_that_hurts_is_taken_back_within_three_windows_and_stays_back(net, server):
    with net.load("echo", rate=2000, size=32) as load, \
            SteerLoom(net, [group(policy=ALL_TO_ONE, members=[{"any": True}], guard=guard(),
                                  rollout={"target": "enforced", "automatic": True, "canary": [500], "soak": "1s"})]
                      ) as loom:
        # Observed, shadowed, put in force for half of the flows: all by itself.
        back = loom.until("a rollback", lambda row: row["reverted"])
        assert back["state"] == "shadow" and back["transitions"]["back"] == 1 and back["held_back"]
        rows = audit(loom)
        revert = next(row for row in rows if row["actor"] == "guard")
        assert (revert["from"], revert["to"]) == ("canary:500", "shadow")
        assert revert["reason"].startswith("imbalance 4.00 at slot 0 in 2 windows"), revert
        assert revert["numbers"]["max_over_mean_permille"] > 1800 and len(revert["numbers"]["members"]) == 4
        assert back["last"]["reason"] == revert["reason"] and back["last"]["actor"] == "guard"
        took = at(loom, "guard", "shadow") - at(loom, "automatic", "canary")
        print(f"all to one member: taken back after {took:.2f} s, {took / WINDOW_S:.1f} windows: {revert['reason']}")
        assert took <= 3 * WINDOW_S
        # Soak and cooldown pass several times over.
        later = loom.until("time has passed", lambda row: row["state_age_ns"] > 2.3e9)
        assert later["state"] == "shadow" and later["reverted"] and audit(loom)[-1] == revert
        # An operator may, and is told again.
        loom.ask("rollout", state="next", reason="once more")
        again = loom.until("the next rollback", lambda row: row["transitions"]["back"] == 2)
        assert again["state"] == "shadow" and again["reverted"]
        assert [row["actor"] for row in audit(loom)[-2:]] == ["operator", "guard"]
        # With a policy that does not hurt it stays where the operator puts it.
        loom.policy("weighted")
        good = loom.until("six windows", lambda row: row["state_age_ns"] > 6 * WINDOW_S * 1e9)
        assert good["state"] == "enforced" and good["transitions"]["back"] == 2 and not good["reverted"]
    assert load.failed() == 0, load.complaint()


def test_frozen_does_not_stop_the_guard(net, server):
    with net.load("echo", rate=2000, size=32), \
            SteerLoom(net, [group(policy=ALL_TO_ONE, members=[{"any": True}], guard=guard())]) as loom:
        loom.settled(4)
        loom.rollout("enforced")
        loom.ask("freeze")
        with pytest.raises(LabError, match="409"):
            loom.rollout("shadow")
        back = loom.until("a rollback", lambda row: row["reverted"])
        assert back["frozen"] and back["state"] == "shadow" and back["last"]["actor"] == "guard"
        with pytest.raises(LabError, match="409"):
            loom.rollout("enforced")
        loom.ask("unfreeze")
        assert loom.rollout("enforced")["state"] == "enforced"


@reads_group
def test_a_stuck_member_is_warned_of_and_nothing_is_taken_back(net, server):
    rules = {"queue_age": {"threshold": 0.5}, "imbalance": "off", "jain": "off"}
    with net.load("echo", rate=1000, timeout=200), \
            SteerLoom(net, [group(policy="least_loaded", members=[{"any": True}], guard=guard(rules=rules))]) as loom:
        rows = loom.settled(4)
        loom.rollout("enforced")
        slot = next(row["slot"] for row in rows if row["pid"] == server.workers[1])
        server.send(1, signal.SIGSTOP)
        try:
            stuck = until("a stuck member", lambda: [row for row in loom.members() if row["stuck"]])
            assert [row["slot"] for row in stuck] == [slot] and stuck[0]["queue_age_ns"] >= 500e6 and stuck[0]["queue"]
            until("a warning", lambda: any(row["event"] == "warning" and row["reason"].startswith("queue_age") and
                                           f"slot {slot}" in row["reason"] for row in audit(loom)))
        finally:
            server.send(1, signal.SIGCONT)
        until("nobody is stuck", lambda: not any(row["stuck"] for row in loom.members()))
        assert loom.group()["state"] == "enforced" and loom.group()["transitions"]["back"] == 0


def test_a_load_that_is_healthy_is_left_alone_for_twenty_windows(net):
    policies = ("weighted", "random", "least_loaded" if READS_GROUP else "source_hash")
    with contextlib.ExitStack() as stack:
        ports = range(PORT + 1, PORT + 1 + len(policies))
        loads = []
        for port in ports:
            stack.enter_context(net.python("udp", port=port, first=port))
            loads.append(stack.enter_context(net.load("echo", port=port, rate=1500, lanes=8)))
        loom = stack.enter_context(SteerLoom(net, [
            group(name=policy, port=port, policy=policy, members=[{"any": True}], guard=guard(window="150ms"))
            for policy, port in zip(policies, ports)]))
        for policy in policies:
            loom.settled(4, policy)
            loom.rollout("enforced", policy)
        for policy in policies:
            found = loom.until("twenty windows", lambda row: row["state_age_ns"] > 20 * 150e6, policy)
            assert found["state"] == "enforced" and not found["reverted"], audit(loom, policy)
            assert found["transitions"]["back"] == 0 and found["counters"]["selected"] > 3000
    assert not any(load.failed() for load in loads), [load.complaint() for load in loads]
