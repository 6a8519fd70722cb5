"""The guard: a policy that makes the balance worse is taken back within three windows, and stays back."""
import signal
import time

import pytest

from lab import LabError
from steering import SteerLoom, group, steer_lab

WINDOW = 0.3


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@pytest.fixture
def server(net):
    with net.python("udp") as made:
        yield made


def guard(rules, **more):
    """Short windows, and no rule but the given ones."""
    names = ("imbalance", "jain", "drops", "overflow", "queue_age", "fallbacks", "foreign", "membership")
    return {"window": f"{int(WINDOW * 1000)}ms", "cooldown": "1s", "min_selections": 50,
            "rules": {name: "off" for name in names} | rules, **more}


def watched(net, policy, rules, **more):
    return SteerLoom(net, [group("udp", policy=policy, members=[{"any": True}], guard=guard(rules), **more)])


def share(load, requests=3000):
    """The busiest worker's part of the next answers, over an even one."""
    before = load.by_worker()
    load.more(requests)
    got = [count - before.get(worker, 0) for worker, count in load.by_worker().items()]
    return max(got) / (sum(got) / 4)


def test_a_few_heavy_senders_are_spread_where_the_kernels_hash_leaves_them_together(net, server):
    with watched(net, "random", {}) as loom:
        loom.settled(4)
        with net.load("echo", each=0, lanes=2, rate=6000) as heavy, net.load("echo", rate=1500) as light:
            before = share(heavy)
            unsteady = loom.until("the imbalance shown", lambda g: g["max_over_mean_permille"] > 1500)
            assert unsteady["jain_permille"] < 900
            loom.rollout("enforced")
            after = share(heavy)
            loom.until("the balance shown", lambda g: g["max_over_mean_permille"] < 1300)
        assert heavy.failed() == light.failed() == 0, heavy.complaint()
    assert before > 1.9 and after < 1.2, (before, after)


def test_a_bad_policy_is_rolled_back_within_three_windows_and_stays_back(net, server):
    """source_hash with one client's address gives all to one worker."""
    rules = {"imbalance": {"threshold": 1.8, "windows": 2, "action": "revert"}}
    rollout = {"target": "enforced", "automatic": True, "soak": "400ms"}
    with watched(net, "source_hash", rules) as loom, net.load("echo", rate=3000) as load:
        loom.settled(4)
        loom.config["steering"]["groups"][0]["rollout"] = rollout
        loom.rollout("enforced")
        begun = time.monotonic()
        found = loom.until("the guard's rollback", lambda g: g["state"] == "shadow")
        took = time.monotonic() - begun
        assert found["reverted"] and found["last"]["actor"] == "guard" and "imbalance" in found["last"]["reason"]
        # A window that began before and three of its own.
        assert took < 4 * WINDOW + 0.1, took
        assert share(load) < 1.4
        with pytest.raises(LabError, match="409"):
            loom.ask("rollout", state="next")
        # It stays back although it should go forward by itself.
        loom.write()
        loom.api("POST", "/config/reload")
        load.more(5000)
        assert loom.group()["state"] == "shadow" and loom.group()["held_back"]
        assert loom.ask("rollout", state="enforced", force=True)["state"] == "enforced"
        loom.until("the guard's next rollback", lambda g: g["state"] == "shadow")
        audit = loom.api("GET", "/steer/groups/g/audit")["transitions"]
    assert [row["actor"] for row in audit if "guard" in row["actor"]], audit
    assert load.failed() == 0, load.complaint()


def test_a_good_policy_is_left_alone(net, server):
    rules = {"imbalance": {"threshold": 1.8, "windows": 1, "action": "revert"}}
    with watched(net, "weighted", rules) as loom, net.load("echo", rate=3000) as load:
        loom.settled(4)
        loom.rollout("enforced")
        load.more(4000)
        assert loom.group()["state"] == "enforced" and not loom.group()["reverted"]


def test_a_stuck_member_makes_the_group_fall_back(net, server):
    rules = {"queue_age": {"threshold": 0.4, "windows": 1, "action": "fallback"}}
    with watched(net, "weighted", rules) as loom, net.load("echo", rate=2000, timeout=300, lanes=900) as load:
        loom.settled(4)
        loom.rollout("enforced")
        load.more(200)
        assert load.failed() == 0
        server.send(3, signal.SIGSTOP)
        found = loom.until("the fallback", lambda g: g["fallback"])
        server.send(3, signal.SIGCONT)
        assert not found["attached"] and [row["pid"] for row in found["members"] if row["stuck"]] == [server.workers[3]]
        assert "queue" in found["last"]["reason"]
