"""loom exec with loomd: programs that know nothing are members, and are replaced under load without loss."""
import os
import re
import signal
import sys

import pytest

from balancer import BUILD
from lab import until
from steering import ADDRESS, PORT, Server, SteerLoom, group, steer_lab

WORKERS = 3

# Knows nothing of Loom, binds by itself, and ends at SIGTERM once it has answered whom it accepted.
PROGRAM = """
import os, select, signal, socket, sys, time
ended, wake = [], socket.socketpair()
wake[1].setblocking(False)
signal.set_wakeup_fd(wake[1].fileno())
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
udp = sys.argv[1] == "udp"
me = os.environ["LOOM_WORKER"].encode()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
s.bind((sys.argv[2], int(sys.argv[3])))
if not udp: s.listen(512)
s.setblocking(False)
while not ended:
    if s not in select.select([s, wake[0]], [], [])[0]: continue
    try:
        if udp:
            data, who = s.recvfrom(2048)
            time.sleep(0.001)  # so that something waits in the queue
            s.sendto(me + b" " + data, who)
            continue
        c = s.accept()[0]
    except BlockingIOError: continue
    with c:
        c.settimeout(5)
        try:
            c.recv(64)
            time.sleep(0.001)
            c.sendall(me + b"\\n")
        except OSError: pass
"""


class Exec(Server):
    """Workers of loom exec, which loomd finds by their address."""

    def __init__(self, net, protocol, *options):
        self.net, self.name, self.port = net, f"exec-{protocol}", PORT
        env = dict(os.environ, LOOM_STEER_SOCKET=str(net.lab.dir / "join.sock"),
                   LOOM_BIND_LIBRARY=str(BUILD / "src/libloom/libloom-bind.so"))
        self.process = net.host.spawn(self.name, BUILD / "loom", "exec", "--listen", f"{protocol}:{ADDRESS}:{PORT}", "--workers",
                                      WORKERS, "--hook", "--ready-after", "200", *options, "--", sys.executable, "-c", PROGRAM,
                                      protocol, ADDRESS, PORT, env=env)

    def roll(self, generation):
        self.process.send(signal.SIGHUP)
        self.process.wait_line(f"rolling restart to generation {generation} is complete", timeout=60)


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


def steered(net, protocol):
    return SteerLoom(net, [group(protocol, members=[{"join": True}], guard="off", quarantine="20ms")], poll="10ms")


CLOSES_ALL = """
import os, socket
os.closerange(3, 1000)
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.bind(("{address}", {port}))
while True:
    data, peer = sock.recvfrom(2000)
    sock.sendto(b"0 " + data, peer)
"""


def test_a_program_that_closes_all_it_has_inherited_keeps_its_socket(net):
    with steered(net, "udp") as loom:
        env = dict(os.environ, LOOM_BIND_LIBRARY=str(BUILD / "src/libloom/libloom-bind.so"))
        worker = net.host.spawn("exec", BUILD / "loom", "exec", "--listen", f"udp:{ADDRESS}:{PORT}", "--hook", "--socket",
                                loom.join, "--ready-after", "100", "--", sys.executable, "-c",
                                CLOSES_ALL.format(address=ADDRESS, port=PORT), env=env)
        loom.settled(1)
        with net.load("echo", count=100) as load:
            load.finish()
        assert load.failed() == 0, load.complaint()
        net.lab.end(worker)


@pytest.mark.parametrize("protocol, kind", [("tcp", "line"), ("udp", "echo")])
def test_workers_are_replaced_under_load_without_loss(net, protocol, kind):
    with steered(net, protocol) as loom, Exec(net, protocol) as workers:
        loom.settled(WORKERS)
        loom.rollout("enforced")
        options = {"lanes": 64}
        with net.load(kind, timeout=5000, **options) as load:
            load.more(500)
            for generation in (1, 2, 3):
                workers.roll(generation)
                load.more(200)
        assert load.failed() == 0, load.complaint()
        assert set(load.by_worker()) == set(range(WORKERS))
        members = loom.group()["members"]
        assert {row["generation"] for row in members if row["state"] == "active"} == {3}


def test_a_daemon_that_comes_later_and_comes_again_finds_the_workers(net):
    with Exec(net, "udp") as workers:
        net.listening(PORT, WORKERS, udp=True)
        with steered(net, "udp") as loom:
            loom.settled(WORKERS)
        until("they are alone again", lambda: sum("is not steered" in line for line in workers.process.lines) == 2 * WORKERS)
        with steered(net, "udp") as loom:
            loom.settled(WORKERS)
            labels = {row["label"] for row in loom.group()["members"]}
        assert labels == {f"worker {number}" for number in range(WORKERS)}
        assert any(re.search(r"worker 2 is member \d+ of the group of udp:", line) for line in workers.process.lines)
