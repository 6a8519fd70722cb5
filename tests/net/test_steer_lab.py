"""Servers, loads and what they say of each other, without Loom: if this fails, Loom is not to blame."""
import collections
import signal

import pytest

from lab import until
from steering import PORT, SERVERS, steer_lab


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@pytest.mark.parametrize("name", SERVERS)
def test_the_kernel_spreads_flows_over_four_workers_and_each_answer_names_its_worker(net, name):
    server = SERVERS[name](net)
    with net.load(server.load_kind, count=4000, record=True) as load:
        load.finish()
    server.stop()
    assert load.failed() == 0, load.complaint()
    answers = load.answers()
    assert len({(one.address, one.port) for one in answers}) == len(answers) == 4000
    if name == "unbound":
        threads = server.threads()
        workers = collections.Counter(threads[one.flow] for one in answers)
    else:
        workers = collections.Counter(one.worker for one in answers)
    assert len(workers) == 4 and min(workers.values()) > 800


def test_a_stopped_worker_and_a_closed_one_are_seen_as_what_they_are(net):
    server = net.python("tcp", backlog=8)
    server.send(2, signal.SIGSTOP)
    with net.load("line", count=400, timeout=200) as load:
        load.finish()
    assert 50 < load.final["timeout"] == load.failed() < 200, load.complaint()
    assert 2 not in load.by_worker()
    server.send(2, signal.SIGKILL)
    server.stop()
    with net.load("line", count=10) as load:
        load.finish()
    assert load.final["refused"] == load.failed() == 10, load.complaint()


def test_a_worker_that_dies_resets_what_waited_in_its_queue(net):
    server = net.python("tcp")
    server.send(1, signal.SIGSTOP)
    with net.load("line", lanes=40, timeout=5000) as load:
        until("a full queue", lambda: max(net.queues(PORT)) > 20)
        server.send(1, signal.SIGKILL)
        load.more(200)
    assert load.final["reset"] == load.failed() > 10, load.complaint()
    server.stop()
    server = net.python("udp", workers=1)
    with net.load("echo", rate=2000, timeout=300) as load:
        load.more(100)
        server.send(0, signal.SIGKILL)
        load.more(300)
    assert load.final["refused"] > 0 and load.failed() == load.final["refused"] + load.final["timeout"]
    server.stop()
