#!/usr/bin/env python3
"""loom exec with real workers on loopback, without loomd: plain SO_REUSEPORT."""
import collections
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

LOOM, HOOK = os.environ["LOOM"], os.environ["LOOM_HOOK"]
DEADLINE = 30

# Answers every datagram with who it is; the socket is inherited.
INHERITS = """
import os, socket, sys
assert int(os.environ["LISTEN_PID"]) == os.getpid() and os.environ["LISTEN_FDS"] == "1", os.environ
assert "NOTIFY_SOCKET" not in os.environ and "LOOM_SLOT" not in os.environ
s = socket.socket(fileno=3)
assert s.getblocking()
me = " ".join([os.environ["LOOM_WORKER"], os.environ["LOOM_GENERATION"], os.environ["LISTEN_FDNAMES"], str(os.getpid())])
while True:
    data, who = s.recvfrom(100)
    s.sendto(me.encode(), who)
"""

# Knows nothing: closes what it inherited, as daemons do, and binds without SO_REUSEPORT.
KNOWS_NOTHING = """
import os, socket, sys
for fd in range(3, 50):
    try: os.close(fd)
    except OSError: pass
s = socket.socket(socket.AF_INET, socket.SOCK_%s)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) and not os.get_inheritable(s.fileno())
me = f"{os.environ['LOOM_WORKER']} {s.fileno()}".encode()
if s.type == socket.SOCK_STREAM:
    s.listen(16)
    while True:
        with s.accept()[0] as c: c.sendall(me)
while True:
    data, who = s.recvfrom(100)
    s.sendto(me, who)
"""


def free_port(kind):
    """One that no client is given by chance: not of the range of ephemeral ones."""
    while True:
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("127.0.0.1", random.randrange(10000, 30000)))
            except OSError:
                continue
            return s.getsockname()[1]


def ask_udp(port, timeout=0.3):
    """One question from a port of its own; None if nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect(("127.0.0.1", port))
        try:
            s.send(b"who")
            return s.recv(200).decode().split()
        except OSError:
            return None


def ask_tcp(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            return s.recv(200).decode().split()
    except OSError:
        return None


class Exec(unittest.TestCase):
    def start(self, *arguments, **environment):
        self.process = subprocess.Popen([LOOM, "exec", "--socket", "/nonexistent/steer", *arguments], stderr=subprocess.PIPE,
                                        text=True, env=os.environ | {"LOOM_BIND_LIBRARY": HOOK} | environment)
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.addCleanup(self.process.stderr.close)
        self.addCleanup(self.end)

    def read(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.rstrip())
                self.news.notify_all()

    def await_line(self, part, count=1):
        with self.news:
            self.assertTrue(self.news.wait_for(lambda: sum(part in line for line in self.lines) >= count, DEADLINE),
                            f"'{part}' not in {self.lines}")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        return code

    def answers(self, ask, port, satisfied):
        """Counts answers until they satisfy."""
        got = collections.Counter()
        until = time.monotonic() + DEADLINE
        while not satisfied(got):
            self.assertLess(time.monotonic(), until, f"{got} {self.lines}")
            answer = ask(port)
            if answer:
                got[tuple(answer)] += 1
        return got

    def await_workers(self, ask, port, count):
        return self.answers(ask, port, lambda got: len({a[0] for a in got}) == count)

    def test_workers_inherit_a_socket_each(self):
        port = free_port(socket.SOCK_DGRAM)
        self.start("--listen", f"udp:127.0.0.1:{port}", "--workers", "3", "--", sys.executable, "-c", INHERITS)
        got = self.await_workers(ask_udp, port, 3)
        self.assertEqual({a[1:3] for a in got}, {("0", f"udp-127.0.0.1-{port}")})
        self.await_line("is not steered on udp:127.0.0.1:", 3)
        pids = {int(a[3]) for a in got}
        self.assertIn(self.end(), (0, ), self.lines)
        for pid in pids:
            self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_the_first_failure_is_the_exit_code(self):
        port = free_port(socket.SOCK_DGRAM)
        self.start("--listen", f"udp:{port}", "--", "sh", "-c", "exit 7")
        self.assertEqual(self.process.wait(DEADLINE), 7)
        self.start("--listen", f"udp:{port}", "--", "sh", "-c", "kill -9 $$")
        self.assertEqual(self.process.wait(DEADLINE), 137)
        self.start("--listen", f"udp:{port}", "--", "true")
        self.assertEqual(self.process.wait(DEADLINE), 0)
        self.start("--listen", f"udp:{port}", "--", "/nonexistent/program")
        self.assertEqual(self.process.wait(DEADLINE), 1)
        self.await_line("loom: cannot run /nonexistent/program: No such file or directory; check its path and mode")

    def test_a_worker_that_dies_is_replaced_if_asked_for(self):
        port = free_port(socket.SOCK_DGRAM)
        self.start("--listen", f"udp:{port}", "--workers", "2", "--restart", "--", sys.executable, "-c", INHERITS)
        got = self.await_workers(ask_udp, port, 2)
        victim = next(a for a in got)
        os.kill(int(victim[3]), signal.SIGKILL)
        self.await_line(f"worker {victim[0]} was killed by signal 9")
        self.answers(ask_udp, port, lambda got: any(a[0] == victim[0] and a[3] != victim[3] for a in got))
        # Who dies again and again waits longer and longer, and does not spin.
        self.end()
        self.start("--listen", f"udp:{port}", "--restart", "--", "false")
        self.await_line("worker 0 ended with exit code 1", 3)

    def test_sighup_replaces_the_workers_one_after_the_other(self):
        port = free_port(socket.SOCK_DGRAM)
        self.start("--listen", f"udp:127.0.0.1:{port}", "--workers", "2", "--ready-after", "300", "--generation", "5", "--",
                   sys.executable, "-c", INHERITS)
        old = {a[3] for a in self.await_workers(ask_udp, port, 2)}
        self.process.send_signal(signal.SIGHUP)
        self.await_line("rolling restart to generation 6 is complete")
        got = self.await_workers(ask_udp, port, 2)
        self.assertEqual({a[1] for a in got}, {"6"})
        for pid in old:
            self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_a_new_worker_that_dies_leaves_the_old_ones(self):
        port = free_port(socket.SOCK_DGRAM)
        self.start("--listen", f"udp:127.0.0.1:{port}", "--workers", "2", "--", sys.executable, "-c",
                   'import os\nif os.environ["LOOM_GENERATION"] != "0": os._exit(3)\n' + INHERITS)
        old = {a[3] for a in self.await_workers(ask_udp, port, 2)}
        self.process.send_signal(signal.SIGHUP)
        self.await_line("rolling restart to generation 1 ended early: a new worker died; the old ones stay")
        self.assertEqual({a[3] for a in self.await_workers(ask_udp, port, 2)}, old)

    def test_a_worker_that_notifies_is_ready_when_it_says_so(self):
        port = free_port(socket.SOCK_DGRAM)
        fifo = pathlib.Path(self.id() + str(os.getpid()))
        fifo = pathlib.Path("/tmp") / fifo
        os.mkfifo(fifo)
        self.addCleanup(fifo.unlink)
        program = f"""
import os, socket
n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
if os.environ["LOOM_GENERATION"] == "1": open({str(fifo)!r}).read()
n.sendto(b"STATUS=x\\nREADY=1", "\\0" + os.environ.pop("NOTIFY_SOCKET")[1:])
""" + INHERITS
        self.start("--listen", f"udp:127.0.0.1:{port}", "--notify", "--", sys.executable, "-c", program)
        self.await_workers(ask_udp, port, 1)
        self.process.send_signal(signal.SIGHUP)
        with open(fifo, "w"):  # the new worker has come this far, and is not ready
            self.assertNotIn("complete", str(self.lines))
        self.await_line("rolling restart to generation 1 is complete")

    def test_programs_that_know_nothing_are_hooked(self):
        for kind, proto, ask in (("DGRAM", "udp", ask_udp), ("STREAM", "tcp", ask_tcp)):
            port = free_port(getattr(socket, "SOCK_" + kind))
            self.start("--listen", f"{proto}:127.0.0.1:{port}", "--workers", "3", "--hook", "--", sys.executable, "-c",
                       KNOWS_NOTHING % kind, "127.0.0.1", str(port))
            self.await_workers(ask, port, 3)
            self.assertEqual(self.end(), 0)

    def test_another_address_is_the_programs_own_business(self):
        port, other = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        self.start("--listen", f"udp:127.0.0.1:{port}", "--hook", "--ready-after", "0", "--", sys.executable, "-c",
                   KNOWS_NOTHING % "DGRAM", "127.0.0.1", str(other))
        self.await_workers(ask_udp, other, 1)
        self.await_line(f"worker 0 has not bound udp:127.0.0.1:{port} yet, so it is not ready")

    def test_what_makes_no_sense_is_refused(self):
        for arguments, says in (
                ((), "cannot tell where to listen"),
                (("--listen", "sctp:1"), "begins with neither tcp: nor udp:"),
                (("--listen", "udp:"), "no whole number from 1 to 65535"),
                (("--listen", "udp:0"), "no whole number from 1 to 65535"),
                (("--listen", "udp:::1:80"), "is no address"),
                (("--listen", "udp:localhost:80"), "is no address"),
                (("--listen", "udp:1", "--workers", "0"), "no whole number from 1 to 256"),
                (("--listen", "udp:1", "--group", "a", "--group", "b"), "more --group than --listen")):
            done = subprocess.run([LOOM, "exec", *arguments, "--", "true"], capture_output=True, text=True, timeout=DEADLINE)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(says, done.stderr)
        done = subprocess.run([LOOM, "exec", "--listen", "udp:1"], capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 2)

    def test_an_address_that_is_taken_is_told(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            self.start("--listen", f"udp:127.0.0.1:{port}", "--", "true")
            self.assertEqual(self.process.wait(DEADLINE), 1)
            self.await_line(f"cannot listen on udp:127.0.0.1:{port}: Address already in use; see who does")


unittest.main()
