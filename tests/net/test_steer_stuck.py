"""One of four workers stops (SIGSTOP): with the kernel's hash a quarter of the requests fails, with least_loaded next
to none.  Both in one run, with the same load."""
import os
import signal

import pytest

from steering import KINDS, Nginx, SteerLoom, group, steer_lab

REQUESTS = 2000
TIMES_FEWER = 50


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


def failures(net, kind, **options):
    """Of so many requests, at a rate that three workers bear."""
    with net.load(kind, count=REQUESTS, lanes=600, rate=2000, timeout=250, **options) as load:
        load.finish()
    return load


def compare(net, server, stuck):
    """Failures with the kernel's hash, and with least_loaded."""
    kind = server.load_kind
    row = group(KINDS[kind], policy="least_loaded", members=[{"any": True}], guard="off")
    with SteerLoom(net, [row]) as loom:
        loom.settled(4)
        with net.load(kind, count=400) as load:
            load.finish()
        assert load.failed() == 0, load.complaint()
        os.kill(stuck(load), signal.SIGSTOP)
        by_hash = failures(net, kind)
        loom.rollout("enforced")
        least = failures(net, kind)
        os.kill(stuck(load), signal.SIGCONT)
    assert by_hash.failed() > REQUESTS / 8, by_hash.complaint()
    assert least.failed() * TIMES_FEWER <= by_hash.failed(), (by_hash.complaint(), least.complaint())


def test_a_stuck_tcp_worker_costs_fifty_times_fewer_requests_with_least_loaded(net):
    with net.python("tcp", backlog=64) as server:
        compare(net, server, lambda load: server.workers[2])


def test_a_stuck_nginx_worker_costs_fifty_times_fewer_requests_with_least_loaded(net):
    with Nginx(net) as server:
        compare(net, server, lambda load: min(load.by_worker()))


def test_a_stuck_udp_worker_costs_fifty_times_fewer_requests_with_least_loaded(net):
    with net.python("udp", buffer=16384) as server:
        compare(net, server, lambda load: server.workers[1])
