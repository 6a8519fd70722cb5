"""Rolling restarts under load: without Loom connections are reset, with it nothing is lost."""
import contextlib
import signal
import time

import pytest

from lab import until
from steering import PORT, Member, SteerLoom, group, steer_lab

WORKERS = 4
KILLED = 3


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


class Rolling:
    """Four workers, replaced one after another, for as long as it takes."""

    def __init__(self, net, protocol="tcp", name=""):
        self.net, self.protocol, self.name = net, protocol, name
        self.count = 0
        self.workers = [self.start() for _ in range(WORKERS)]

    def start(self):
        self.count += 1
        return Member(self.net, self.protocol, self.count, self.name, self.count if self.name else 0)

    def restart(self, between=lambda old, new: None):
        """The new one first, then the old one's end."""
        old = self.workers.pop(0)
        new = self.start()
        self.workers.append(new)
        between(old, new)
        return old.end()

    def stop(self):
        for worker in self.workers:
            worker.stop()


@contextlib.contextmanager
def rolling(net, *args):
    made = Rolling(net, *args)
    try:
        yield made
    finally:
        made.stop()


def steered(net, protocol="tcp", policy="hash", members=({"any": True},), **more):
    return SteerLoom(net, [group(protocol, policy=policy, members=list(members), guard="off", quarantine="20ms", **more)],
                     poll="10ms")


def swap(loom):
    """What an operator does for a program that knows nothing: new ones in, old ones empty, then the old one's end."""
    def between(old, new):
        until("the new worker is seen", lambda: any(row["pid"] == new.pid for row in loom.group()["members"]))
        loom.ask("swap", **{"from": {"pid": old.pid}, "to": {"pid": new.pid}})
        loom.until("the old worker is empty", lambda found: all(
            row["state"] == "drained" for row in found["members"] if row["pid"] == old.pid))
    return between


def restarts(net, workers, count, between=lambda old, new: None, each=100):
    """The load's report of so many restarts, a number of requests between them."""
    with net.load("line", lanes=48, timeout=5000) as load:
        load.more(200)
        for _ in range(count):
            workers.restart(between)
            if each:
                load.more(each)
    return load


# tools/steer-restarts does these as often as it is told.

def plainly(net, count, each):
    """The load's report with plain Linux."""
    assert net.host.run("sysctl", "-n", "net.ipv4.tcp_migrate_req").stdout.strip() == "0"
    with rolling(net) as workers:
        return restarts(net, workers, count, each=each)


def by_swap(net, count, each):
    """The same with 'swap' around workers that know nothing."""
    with rolling(net) as workers, steered(net) as loom:
        loom.settled(WORKERS)
        loom.rollout("enforced")
        load = restarts(net, workers, count, swap(loom), each)
        load.migrated = loom.group()["counters"]["migrated"]
        return load


def by_joining(net, count, each):
    """The same with workers that join by libloom, and drain by themselves."""
    with steered(net, members=[{"join": True}]) as loom, rolling(net, "tcp", "g") as workers:
        loom.settled(WORKERS)
        loom.rollout("enforced")
        load = restarts(net, workers, count, each=each)
        load.migrated = loom.group()["counters"]["migrated"]
        return load


def test_rolling_restarts_reset_connections_without_loom_and_none_with(net, record_property):
    plain, swapped, joined = (way(net, 20, 100) for way in (plainly, by_swap, by_joining))
    for name, load in (("plain", plain), ("swap", swapped), ("libloom", joined)):
        record_property(f"failed_{name}", load.failed())
    assert plain.so_far()["reset"] > 5, plain.complaint()
    assert swapped.failed() == 0, swapped.complaint()
    assert joined.failed() == 0, joined.complaint()
    # Nothing was left in a queue for the safety net.
    assert swapped.migrated == joined.migrated == 0


def test_what_waits_at_a_worker_that_dies_migrates_to_the_others(net):
    with rolling(net) as workers, steered(net) as loom:
        loom.settled(WORKERS)
        loom.rollout("enforced")
        with net.load("line", lanes=48, timeout=5000) as load:
            for _ in range(KILLED):
                dying = workers.workers.pop(0)
                workers.workers.append(workers.start())
                dying.process.send(signal.SIGSTOP)
                until("connections wait at it", lambda: max(net.queues(PORT)) > 10)
                dying.stop(signal.SIGKILL)
                load.more(200)
        # One that it had accepted goes with it.
        assert load.failed() <= KILLED, load.complaint()
        assert loom.group()["counters"]["migrated"] > 10 * KILLED


def test_workers_of_a_dead_daemon_end_as_quickly_as_without_one(net):
    with rolling(net, "tcp", "g") as workers:
        begun = time.monotonic()
        lines = workers.restart()
        assert time.monotonic() - begun < 15 and "drained 3" in lines


def switch(net, count):
    """So many generations of a UDP server, each taking over all new flows while it lasts."""
    with steered(net, "udp", {"name": "generation", "flow_timeout": "30s"}, [{"join": True}], flow_idle="300ms") as loom:
        first = current = Member(net, "udp", 1, "g", 1)
        loom.settled(1)
        loom.rollout("enforced")
        leaving = []
        # Flows that last for many generations, and ones that come and go.
        with net.load("echo", each=0, lanes=32, rate=3000) as kept, \
                net.load("echo", each=12, lanes=16, rate=3000) as long, \
                net.load("echo", rate=2000) as short:
            for generation in range(2, count + 2):
                successor = Member(net, "udp", generation, "g", generation)
                until("new flows go to the new generation", lambda n=generation: n in short.by_worker())
                if current is not first:  # whose flows never end
                    current.process.send(signal.SIGTERM)
                    leaving.append(current)
                current = successor
                short.more(20)
            long.more(500)
        for member in leaving:
            assert "drained 1" in member.ended(), member.process.lines
        first.stop()
        current.stop()
    return kept, long, short


def check_switches(loads, count):
    kept, long, short = loads
    for load in loads:
        assert load.failed() == 0 and load.so_far()["moved"] == 0 and load.so_far()["stray"] == 0, load.complaint()
    assert set(kept.by_worker()) == {1}
    assert len(long.by_worker()) > count / 2 and len(short.by_worker()) == count + 1


def test_generations_of_a_udp_server_no_flow_moves_and_no_datagram_is_lost(net):
    check_switches(switch(net, 16), 16)


@pytest.mark.slow
def test_sixty_four_generations(net):
    check_switches(switch(net, 64), 64)


def test_a_draining_udp_socket_is_empty_before_it_closes(net):
    """Restarts of UDP workers by 'swap': no datagram vanishes with a socket's queue."""
    with rolling(net, "udp") as workers, steered(net, "udp") as loom:
        loom.settled(WORKERS)
        loom.rollout("enforced")
        with net.load("echo", lanes=48, timeout=2000) as load:
            for _ in range(12):
                workers.restart(swap(loom))
                load.more(100)
        assert load.failed() == 0, load.complaint()
        assert net.sockets(PORT, udp=True) == WORKERS
