"""What others do to a group, and what happens to Loom: traffic goes on."""
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import threading

import pytest

from lab import LIBC, run, until
from steering import ADDRESS, PORT, Member, Nginx, SteerLoom, group, steer_lab

SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_REUSEPORT_BPF = 51, 68
PIDFD_GETFD = 438


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@pytest.fixture
def server(net):
    with net.python("udp") as made:
        yield made


def steered(net, protocol="udp", policy="weighted", guard="off", members=({"any": True},), **more):
    return SteerLoom(net, [group(protocol, policy=policy, members=list(members), guard=guard, **more)])


def members_socket(pid):
    """A duplicate of a worker's socket: what any member may do to its group, this may."""
    number = next(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")
                  if int(fd) > 2 and os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"))
    pidfd = os.pidfd_open(pid)
    fd = LIBC.syscall(PIDFD_GETFD, pidfd, number, 0)
    os.close(pidfd)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return socket.socket(fileno=fd)


def attach_foreign(pid, index):
    """A classic program that gives everything to one index of the group."""
    code = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, index))
    program = struct.pack("HP", 1, ctypes.addressof(code))
    with members_socket(pid) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def detach_any(pid):
    with members_socket(pid) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)


FOREIGN = {"window": "200ms", "cooldown": "10m", "rules": {"foreign": {"action": "repair"}}}


@pytest.mark.parametrize("attack", ["attach", "detach"])
def test_a_program_that_another_member_attaches_or_takes_away_is_put_right(net, server, attack):
    with steered(net, guard=FOREIGN) as loom, net.load("echo", rate=2000) as load:
        loom.settled(4)
        loom.rollout("enforced")
        load.more(100)
        if attack == "attach":
            attach_foreign(server.workers[0], 1)
        else:
            detach_any(server.workers[0])
        found = loom.until("the repair", lambda g: g["repairs"] == 1)
        assert found["attached"] and found["program"] == found["program_own"] and found["state"] == "enforced"
        before = found["counters"]["selected"]
        load.more(500)
        assert loom.group()["counters"]["selected"] > before
    assert load.failed() == 0, load.complaint()


def test_nobody_is_called_drained_while_another_decides(net):
    """Who is told so stops a process, and loses what the kernel's hash, or another program, has given it."""
    with net.python("tcp") as server, steered(net, "tcp") as loom, net.load("line", lanes=8) as load:
        loom.settled(4)
        loom.rollout("enforced")
        attach_foreign(server.workers[0], 1)
        loom.until("it is seen", lambda g: not g["attached"])
        assert "another program" in loom.steer("drain", "g", "slot:1", check=False).stderr
        loom.steer("attach", "g")
        server.send(1, signal.SIGSTOP)
        load.more(20)
        loom.steer("drain", "g", "slot:1")
        loom.steer("fallback", "g")
        server.send(1, signal.SIGCONT)
        load.more(500)
        assert [row["state"] for row in loom.group()["members"]] == ["active", "draining", "active", "active"]
        loom.steer("resume", "g")
        loom.rollout("enforced")
        loom.until("it is empty", lambda g: g["members"][1]["state"] == "drained")


def test_who_attaches_again_and_again_wins_and_the_group_falls_back(net, server):
    with steered(net, guard=FOREIGN) as loom, net.load("echo", rate=2000) as load:
        loom.settled(4)
        loom.rollout("enforced")
        for turn in range(1, 6):
            attach_foreign(server.workers[0], 2)
            found = loom.until("an answer to it", lambda g, n=turn: g["repairs"] == n or g["fallback"])
            if found["fallback"]:
                break
        assert found["fallback"] and found["repairs"] < 5
        # The other's program is left as it is.
        seen = load.by_worker()
        load.more(500)
        assert {worker for worker, count in load.by_worker().items() if count > seen.get(worker, 0) + 50} == {2}
    assert load.failed() == 0, load.complaint()


def draining(loom):
    """Whether the state file has a member that drains, or has drained."""
    rows = json.loads((loom.state / f"{loom.instance}.steer.json").read_text(encoding="utf-8"))["groups"][0]["members"]
    return [row for row in rows if row["state"] in (2, 3)]


@pytest.mark.parametrize("state", ["observe", "shadow", "canary", "enforced", "fallback", "trace", "drain"])
def test_the_daemon_is_killed_and_the_next_one_goes_on(net, server, state):
    with steered(net) as loom, net.load("echo", rate=2000) as load:
        loom.settled(4)
        if state in ("fallback", "trace", "drain"):
            loom.rollout("enforced")
        if state == "fallback":
            loom.ask("fallback")
        elif state == "drain":
            loom.ask("drain", member={"pid": server.workers[3]})
            until("the drain is written down", lambda: draining(loom))
        elif state != "trace":
            loom.rollout(state)
        with loom.trace() if state == "trace" else contextlib.nullcontext():
            loom.stop(signal.SIGKILL)
        load.more(300)
        loom.start()
        loom.settled(3 if state == "drain" else 4)
        found = loom.group()
        # At once after the answer: what is below a fallback may not be in the state file yet.
        if state != "fallback":
            assert found["state"] == (state if state in ("observe", "shadow", "canary") else "enforced")
        assert found["fallback"] == (state == "fallback") == (not found["attached"])
        load.more(300)
        if state == "drain":
            seen = load.by_worker()[3]
            load.more(300)
            assert load.by_worker()[3] <= seen + 1
    assert load.failed() == 0, load.complaint()


def empty_ones(loom, load):
    """How many of the next requests met an empty slot."""
    before = loom.group()["counters"]["slot_empty"]
    load.more(100)
    return loom.group()["counters"]["slot_empty"] - before


def test_a_slot_that_somebody_empties_is_filled_again_and_nothing_fails(net, server):
    with steered(net) as loom, net.load("echo", rate=2000) as load:
        loom.settled(4)
        loom.rollout("enforced")
        path = next(loom.pins.rglob("socks"))
        for slot in range(4):
            run("bpftool", "map", "delete", "pinned", path, "key", "hex", f"{slot:02x}", "00", "00", "00")
        load.more(200)
        assert loom.group()["counters"]["slot_empty"] > 20
        until("full slots", lambda: not empty_ones(loom, load))
    assert load.failed() == 0, load.complaint()


class Many:
    """An echo server in this process: sockets on each of the ports, one thread; numbers count through."""

    def __init__(self, net, count, ports=(PORT,)):
        self.poll = select.epoll()
        self.sockets = {}
        with net.host.entered():
            for port in sorted(list(ports) * count):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind((ADDRESS, port))
                self.sockets[sock.fileno()] = (len(self.sockets), sock)
                self.poll.register(sock, select.EPOLLIN)
        self.end, self.wake = os.pipe()
        self.poll.register(self.end, select.EPOLLHUP)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            for fd, _ in self.poll.poll():
                if fd == self.end:
                    return
                number, sock = self.sockets[fd]
                try:
                    data, peer = sock.recvfrom(2048)
                except BlockingIOError:
                    continue
                sock.sendto(f"{number} ".encode() + data, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.wake)
        self.thread.join(5)
        for _, sock in self.sockets.values():
            sock.close()
        self.poll.close()
        os.close(self.end)


def test_more_sockets_than_slots_are_served_and_said(net):
    with Many(net, 300), steered(net) as loom, net.load("echo", rate=3000) as load:
        loom.until("256 members with a slot", lambda g: sum(row["slot"] is not None for row in g["members"]) == 256,
                   timeout=15)
        loom.rollout("enforced")
        load.more(3000)
        found = loom.group()
        assert len(found["members"]) == 300 and found["attached"]
        assert sum(row["state"] == "active" for row in found["members"]) == 256
    assert load.failed() == 0, load.complaint()


def test_two_groups_share_a_process(net):
    with Many(net, 2, (PORT, PORT + 1)), \
            SteerLoom(net, [group("udp", "g", members=[{"any": True}], guard="off", policy="random"),
                            group("udp", "h", port=PORT + 1, members=[{"any": True}], guard="off", policy="random")]) as loom:
        for name in ("g", "h"):
            assert {row["pid"] for row in loom.settled(2, name)} == {os.getpid()}
            loom.rollout("enforced", name)
        with net.load("echo", count=500) as one, net.load("echo", port=PORT + 1, count=500) as other:
            one.finish()
            other.finish()
        assert one.failed() == other.failed() == 0, (one.complaint(), other.complaint())
        assert set(one.by_worker()) == {0, 1} and set(other.by_worker()) == {2, 3}
        assert loom.group("g")["counters"]["selected"] == loom.group("h")["counters"]["selected"] == 500


def test_wildcard_and_specific_sockets_on_a_port_are_two_groups(net):
    """Neither gets what is the other's."""
    with net.python("udp", workers=3, address="0.0.0.0"), net.python("udp", workers=3, first=10, address="127.0.0.9"), \
            SteerLoom(net, [group("udp", "wild", address="0.0.0.0", members=[{"any": True}], guard="off", policy="random"),
                            group("udp", "own", address="127.0.0.9", members=[{"any": True}], guard="off",
                                  policy="random")]) as loom:
        for name in ("wild", "own"):
            assert len(loom.settled(3, name)) == 3
            loom.rollout("enforced", name)
        with net.load("echo", address="127.0.0.9", count=900) as own, net.load("echo", count=900) as wild:
            own.finish()
            wild.finish()
        assert own.failed() == wild.failed() == 0, (own.complaint(), wild.complaint())
        assert set(own.by_worker()) == {10, 11, 12} and set(wild.by_worker()) == {0, 1, 2}
        for name in ("wild", "own"):
            counters = loom.group(name)["counters"]
            assert counters["selected"] == 900 and counters["slot_foreign"] == 0


def test_who_is_left_of_one_family_does_not_serve_the_other(net):
    with net.python("udp", 2, address="0.0.0.0") as four, net.python("udp", 1, first=10, address="::") as six, \
            steered(net, address="*") as loom:
        loom.settled(3)
        loom.rollout("enforced")
        assert "IPv6" in loom.steer("drain", "g", f"pid:{six.workers[10]}", check=False).stderr
        assert "IPv6" in loom.steer("swap", "g", "--from", f"pid:{six.workers[10]}", "--to", f"pid:{four.workers[0]}",
                                    check=False).stderr
        assert len(loom.members()) == 3
        with net.python("udp", 1, first=11, address="::") as newer:
            loom.steer("swap", "g", "--from", f"pid:{six.workers[10]}", "--to", f"pid:{newer.workers[11]}")
            assert {row["pid"] for row in loom.members()} == set(four.workers.values()) | set(newer.workers.values())


BOTH_WAYS = """
import signal, socket, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[1]))
sock.bind(("::", {port}))
print("bound", flush=True)
signal.pause()
"""


def test_a_second_kernel_group_on_the_address_takes_nothing_from_the_first(net):
    """Sockets of IPv6 with and without IPv4 are two; which of them the kernel tells first is by chance."""
    def bound(only):
        process = net.host.spawn(f"both-{only}", "python3", "-c", BOTH_WAYS.format(port=PORT), only)
        process.wait_line("^bound")
        return process

    for _ in range(5):
        first = bound(0)
        with steered(net, address="::") as loom:
            (row,) = loom.settled(1)
            loom.rollout("enforced")
            second = bound(1)
            loom.until("both are seen", lambda g: len(g["members"]) == 2 and g["members"][1]["slot"] is not None and
                       g["members"][1]["age_ns"] > 500_000_000)
            found = loom.group()
            assert [row["id"] for row in loom.members()] == [row["id"]] and found["attached"]
            assert len([line for line in loom.process.lines if "attached by automatic" in line]) == 1
            # What is left counts.
            net.lab.end(first)
            loom.until("the second one's turn", lambda g: [row["state"] for row in g["members"]] == ["active"] and g["attached"])
        net.lab.end(second)


def test_a_socket_of_another_port_may_not_join(net):
    with steered(net, "tcp", members=[{"join": True}]) as loom:
        member = Member(net, "tcp", 1, "g", port=PORT + 1)
        assert member.slot < 0 and loom.group()["members"] == []
        with net.load("line", port=PORT + 1, count=50) as load:
            load.finish()
        assert load.failed() == 0
        assert "not bound to its address" in member.process.lines[0], member.process.lines
        assert any("drained 3" in line for line in member.end())


def test_a_worker_that_dies_costs_what_it_had_and_no_more(net, server):
    with steered(net) as loom, net.load("echo", rate=2000, timeout=200) as load:
        loom.settled(4)
        loom.rollout("enforced")
        load.more(200)
        server.send(1, signal.SIGKILL)
        loom.settled(3)
        load.more(1000)  # what it had is given up meanwhile
        failed = load.failed()
        load.more(1000)
        assert load.failed() == failed < 20, load.complaint()


def test_a_configuration_test_of_nginx_gets_nothing(net):
    """nginx -t binds and listens for a moment, and resets what it was given."""
    with Nginx(net) as server, steered(net, "tcp", quarantine="5s") as loom, net.load("http", lanes=32) as load:
        loom.settled(4)
        loom.rollout("enforced")
        load.more(200)
        for _ in range(10):
            assert server.check().returncode == 0
        load.more(500)
    assert load.failed() == 0, load.complaint()


HANDED_ON = """
import os, signal, socket
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
sock.bind(("{address}", {port}))
print("bound", flush=True)
for fd in 1, 2:
    os.dup2(os.open("/dev/null", os.O_WRONLY), fd)
signal.pause() if not os.fork() else os._exit(signal.sigwait({{signal.SIGUSR1}}))
"""


INIT = """
import socket, subprocess, sys
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
sock.bind(("{address}", {port}))
subprocess.Popen(["sleep", "infinity"], pass_fds=[sock.fileno()])
subprocess.run(sys.argv[1:])
"""


def test_a_socket_that_init_bound_is_its_services(net):
    """Socket activation: systemd holds it as well, and is the eldest."""
    prefix = ["unshare", "-pf", "--kill-child", "--mount-proc", "python3", "-c", INIT.format(address=ADDRESS, port=PORT)]
    with SteerLoom(net, [group(members=[{"process": "sleep"}], guard="off")], prefix=prefix) as loom:
        (row,) = loom.settled(1)
        assert row["pid"] != 1 and row["comm"] == "sleep"


BOUND_FOR_ANOTHER = """
import signal, socket, subprocess
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
sock.bind(("{address}", {port}))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("bound", flush=True)
signal.sigwait([signal.SIGUSR1])
subprocess.run(["sleep", "infinity"], pass_fds=[sock.fileno()])
"""


def test_a_socket_that_was_bound_for_a_program_that_comes_later_is_its(net):
    """As systemd does, and supervisors."""
    with steered(net, members=[{"process": "sleep"}]) as loom:
        binder = net.host.spawn("binder", "python3", "-c", BOUND_FOR_ANOTHER.format(address=ADDRESS, port=PORT))
        binder.wait_line("^bound")
        binder_seen = "no members entry names it"
        loom.process.wait_line(binder_seen)
        binder.send(signal.SIGUSR1)
        loom.until("it is a member", lambda g: [row["state"] for row in g["members"]] == ["active"], timeout=10)
        assert len([line for line in loom.process.lines if binder_seen in line]) == 1
        (child,) = run("pgrep", "-P", str(binder.pid)).stdout.split()
        os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("named", ["at once", "later"])
def test_a_member_whose_parent_went_to_the_background_is_its_childs(net, server, named):
    """As every daemon does that binds before it forks; a master that is replaced leaves its sockets likewise."""
    program = HANDED_ON.format(address=ADDRESS, port=PORT)
    with steered(net) as loom:
        loom.settled(4)
        loom.rollout("enforced")
        parent = net.host.spawn("handed-on", "python3", "-c", program)
        parent.wait_line("^bound")
        loom.until("five members", lambda g: [row["pid"] for row in g["members"]].count(parent.pid) == 1)
        (child,) = until("the fork", lambda: [int(pid) for pid in run("pgrep", "-P", str(parent.pid), check=False).stdout.split()])
        try:
            os.kill(parent.pid, signal.SIGUSR1)
            parent.wait(5)
            if named == "at once":
                loom.steer("drain", "g", f"pid:{child}")
            loom.until("its new owner", lambda g: [row["pid"] for row in g["members"]].count(child) == 1)
        finally:
            os.kill(child, signal.SIGKILL)
        loom.settled(4)
