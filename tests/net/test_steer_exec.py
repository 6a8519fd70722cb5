"""loom exec: a program that knows nothing of Loom but LISTEN_FDS, restarted under load, loses nothing."""
import contextlib
import os
import signal
import sys

import pytest

from balancer import BUILD
from lab import until
from steering import ADDRESS, PORT, SteerLoom, group, steer_lab

WORKERS = 4

# Answers name the generation and the worker, GENERATION * 10 + WORKER.
PROGRAM = {
    "udp": """
import os, socket
sock = socket.socket(fileno=3)
head = b"%d " % (int(os.environ["LOOM_GENERATION"]) * 10 + int(os.environ["LOOM_WORKER"]))
while True:
    data, peer = sock.recvfrom(65535)
    sock.sendto(head + data, peer)
""",
    "tcp": """
import os, socket
sock = socket.socket(fileno=3)
answer = b"%d\\n" % (int(os.environ["LOOM_GENERATION"]) * 10 + int(os.environ["LOOM_WORKER"]))
while True:
    peer, _ = sock.accept()
    with peer:
        if peer.recv(64):
            peer.send(answer)
""",
}


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


class Exec:
    """Four workers under 'loom exec'."""

    def __init__(self, net, protocol):
        self.net = net
        self.process = net.host.spawn(
            "exec", BUILD / "loom", "exec", "--listen", f"{protocol}:{ADDRESS}:{PORT}", "--group", "g", "--workers", WORKERS,
            "--generation", "1", "--ready-after", "100", "--socket", net.lab.dir / "join.sock", "--",
            sys.executable, "-c", PROGRAM[protocol])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.net.lab.end(self.process)

    def roll(self, generation):
        self.process.send(signal.SIGHUP)
        self.process.wait_line(f"restart to generation {generation} is complete")


def generations(loom):
    return sorted(row["generation"] for row in loom.members())


@pytest.mark.parametrize("protocol, kind", [("udp", "echo"), ("tcp", "line")])
def test_rolling_restarts_of_loom_exec_lose_nothing(net, protocol, kind):
    with SteerLoom(net, [group(protocol, policy="hash", members=[{"join": True}], guard="off")], poll="10ms") as loom, \
            Exec(net, protocol) as workers:
        loom.settled(WORKERS)
        assert generations(loom) == [1] * WORKERS
        loom.rollout("enforced")
        with net.load(kind, lanes=16, rate=3000, timeout=5000) as load:
            for generation in (2,):
                load.more(300)
                workers.roll(generation)
                assert generations(loom) == [generation] * WORKERS
            load.more(300)
        assert load.failed() == 0, load.complaint()
        served = set(load.by_worker())
        assert {20, 21, 22, 23} < served <= {g * 10 + n for g in (1, 2) for n in range(WORKERS)}
        pids = [row["pid"] for row in loom.members()]
        # A socket that is handed over on joining is never taken for the daemon's, or for a stranger's.
        assert loom.process.pid not in pids and "loomd" not in {row["comm"] for row in loom.members()}
        assert not any("names it" in line for line in loom.process.lines)
    # It has taken its workers with it.
    until("no socket is left", lambda: net.sockets(PORT, protocol == "udp") == 0)
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            assert os.readlink(f"/proc/{pid}/exe") != sys.executable
