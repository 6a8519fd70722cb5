"""Unmodified servers under load, from plain Linux to an enforced policy and back: nothing fails, and what is
said of each flow is what happened to it."""
import collections

import pytest

from steering import KINDS, READS_GROUP, SERVERS, SteerLoom, group, reads_group, steer_lab

FLOWS = 10_000


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


class Serving:
    """One server with four workers, and a daemon that knows their group."""

    def __init__(self, net, name, policy="weighted"):
        self.net, self.name = net, name
        self.server = SERVERS[name](net)
        self.kind = self.server.load_kind
        self.loom = SteerLoom(net, [group(KINDS[self.kind], policy=policy, members=[{"any": True}], guard="off")])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loom.__exit__()
        self.server.stop()

    def flows(self, count, **options):
        """So many flows, each traced: [(answer, decision, worker)]."""
        with self.loom.trace() as trace:
            with self.net.load(self.kind, count=count, record=True, lanes=32, **options) as load:
                load.finish()
            self.net.traced(trace, count)
        assert load.failed() == 0, load.complaint()
        assert trace.end is None or trace.end["lost"] == 0, trace.end
        decisions = {row["source"]: row for row in trace.decisions}
        threads = self.server.threads() if self.name == "unbound" else {}
        return [(one, decisions[f"{one.address}:{one.port}"], threads.get(one.flow, one.worker))
                for one in load.answers()]


def worker_of_slot(rows, key):
    """Which worker answered what was given to each slot; an error unless that is one, and another for each slot."""
    pairs = collections.Counter((decision[key], worker) for _, decision, worker in rows)
    workers = dict(pairs.keys())
    assert len(pairs) == len(workers) == len(set(workers.values())) == 4, pairs
    return workers


@pytest.mark.parametrize("name", SERVERS)
def test_from_plain_linux_to_enforced_and_back_under_load_nothing_fails(net, name):
    with Serving(net, name) as case, net.load(case.kind, lanes=32, rate=4000, timeout=2000) as load:
        loom = case.loom.start()
        loom.settled(4)
        loom.ask("detach")
        load.more(200)
        assert loom.ask("attach")["attached"]
        # With equal weights the policy chooses as the kernel does.
        loom.ask("weight", member={"slot": 0}, weight=300)
        for state, more in (("observe", {}), ("shadow", {}), ("canary", {"canary_permille": 100}),
                            ("canary", {"canary_permille": 500}), ("enforced", {})):
            assert loom.rollout(state, **more)["state"] == state
            load.more(300)
        found = loom.group()
        assert found["attached"] and found["program"] == found["program_own"]
        assert found["counters"]["selected"] > 250 and found["counters"]["shadow_other"] > 0
        for policy in ("random", "source_hash", *(["least_loaded"] if READS_GROUP else []), "cpu_local", "hash", "weighted"):
            loom.policy(policy)
            load.more(100)
        assert loom.ask("fallback", reason="a test")["fallback"]
        assert not loom.group()["attached"]
        load.more(200)
        loom.ask("resume")
        loom.rollout("enforced")
        load.more(200)
        assert not loom.ask("detach")["attached"]
        load.more(200)
    assert load.failed() == 0, load.complaint()


@reads_group
@pytest.mark.parametrize("name", SERVERS)
def test_shadow_names_the_kernels_choice_for_every_flow(net, name):
    with Serving(net, name) as case:
        case.loom.start().settled(4)
        case.loom.ask("weight", member={"slot": 1}, weight=300)
        assert case.loom.rollout("shadow")["exact"]
        rows = case.flows(FLOWS, rate=20000)
        assert len(rows) == FLOWS
        assert all(decision["chosen_slot"] == decision["kernel_slot"] for _, decision, _ in rows)
        workers = worker_of_slot(rows, "kernel_slot")
        if name.startswith("python"):
            pids = {row["slot"]: row["pid"] for row in case.loom.members()}
            assert {slot: case.server.workers[worker] for slot, worker in workers.items()} == pids
        # What it would have done is what it then does.
        wanted = {one.port: decision["policy_slot"] for one, decision, _ in rows}
        assert len(set(wanted.values())) == 4
        case.loom.rollout("enforced")
        rows = case.flows(2000, rate=20000)
        assert worker_of_slot(rows, "policy_slot") == workers
        assert all(decision["reason"] == "selected" for _, decision, _ in rows)
