"""A network in a box: namespaces, veth pairs, addresses and processes that vanish with the test.

Everything is named after the process that made it (loom-net-PID-N-...), so that what a killed test
leaves behind is recognised and removed by the next one (reap).
"""
import atexit
import contextlib
import ctypes
import itertools
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
BASE = pathlib.Path("/tmp")
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# Seconds that a test waits for what comes at once: a busy machine is no defect.
PATIENCE = float(os.environ.get("LOOM_PATIENCE", "40"))

VIP4, VIP6 = "10.0.0.1", "fd00::1"


class LabError(Exception):
    pass


def run(*argv, text=None, check=True, timeout=3 * PATIENCE):
    """The finished command; its complaint is in the exception."""
    done = subprocess.run([str(a) for a in argv], input=text, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def until(what, question, timeout=PATIENCE):
    """The first true answer.  For states that nothing announces."""
    end = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {timeout} s, last answer {answer!r}")
        select.select([], [], [], 0.01)


def _die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child whose output is kept line by line and can be waited for."""

    def __init__(self, name, argv, log, env=None):
        self.name = name
        self.lines = []
        self.closed = False
        self.news = threading.Condition()
        self.log = open(log, "a", encoding="utf-8", buffering=1)
        self.popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, errors="replace", env=env,
                                      start_new_session=True, preexec_fn=_die_with_parent)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def pid(self):
        return self.popen.pid

    def _read(self):
        for line in self.popen.stdout:
            with self.news:
                self.log.write(line)
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.closed = True
            self.news.notify_all()

    def wait_line(self, pattern, timeout=PATIENCE, start=0):
        """The first line from number start on that matches; an error if the process ends before."""
        end = time.monotonic() + timeout
        regex = re.compile(pattern)
        with self.news:
            while True:
                for line in itertools.islice(self.lines, start, None):
                    if regex.search(line):
                        return line
                start = len(self.lines)
                left = end - time.monotonic()
                if self.closed or left <= 0:
                    raise LabError(f"{self.name}: no line like {pattern!r}; it said:\n" + "\n".join(self.lines[-30:]))
                self.news.wait(left)

    def alive(self):
        return self.popen.poll() is None

    def send(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def wait(self, timeout=PATIENCE):
        code = self.popen.wait(timeout)
        self.reader.join(timeout)
        return code

    def stop(self, number=signal.SIGTERM, timeout=10.0):
        """Ends it and whatever it started; kills what does not listen.  Returns the exit status."""
        self.send(number)
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()
        self.reader.join(2)
        self.popen.stdout.close()
        self.log.close()
        return code


class Namespace:
    """A network namespace.  Commands run in it, sockets are made in it."""

    def __init__(self, lab, short):
        self.lab = lab
        self.short = short
        self.name = f"{lab.name}-{short}"
        run("ip", "netns", "add", self.name)
        lab.namespaces.append(self)
        self.fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        for key in ("net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad",
                    "net/ipv6/conf/default/router_solicitations"):
            self.sysctl(key, 0)
        self.ip("link set lo up")

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is inside meanwhile; what it opens stays inside."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            _setns(self.fd)
            try:
                yield self
            finally:
                _setns(home.fileno())

    def ip(self, commands):
        """One or more lines for ip(8)."""
        run("ip", "-n", self.name, "-batch", "-", text=commands + "\n")

    def command(self, *argv):
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv, **kwargs):
        return run(*self.command(*argv), **kwargs)

    def spawn(self, name, *argv, env=None):
        return self.lab.spawn(f"{self.short}-{name}", self.command(*argv), env)

    def sysctl(self, key, value):
        with self.entered():
            pathlib.Path("/proc/sys", key).write_text(str(value), encoding="ascii")

    def socket(self, family, kind):
        with self.entered():
            return socket.socket(family, kind)

    def connect(self, address, port, source=None, timeout=PATIENCE):
        """A connected TCP socket from inside."""
        sock = self.socket(family_of(address), socket.SOCK_STREAM)
        sock.settimeout(timeout)
        if source:
            sock.bind(source)
        try:
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def listen(self, address, port, backlog=1024):
        sock = self.socket(family_of(address), socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(backlog)
        sock.settimeout(PATIENCE)
        return sock

    def datagram(self, address=None, port=0, family=None):
        sock = self.socket(family or family_of(address), socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE)
        if address:
            sock.bind((address, port))
        return sock

    def mac(self, interface):
        with self.entered():
            return re.search(r"link/ether (\S+)", run("ip", "link", "show", interface).stdout).group(1)

    def delete(self):
        with contextlib.suppress(OSError):
            os.close(self.fd)
        run("ip", "netns", "del", self.name, check=False)


def _setns(fd):
    if LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def url_host(address):
    return f"[{address}]" if ":" in address else address


class Lab:
    """Owns namespaces, processes, a scratch directory and a bpffs of its own below it."""

    counter = itertools.count(1)

    def __init__(self, kind="net"):
        self.name = f"loom-{kind}-{os.getpid()}-{next(Lab.counter)}"
        self.dir = BASE / self.name
        self.namespaces = []
        self.processes = []
        self.closers = []
        self.dir.mkdir(mode=0o755)
        atexit.register(self.close)
        try:
            self.bpf = self.dir / "bpf"
            self.bpf.mkdir()
            run("mount", "-t", "bpf", "bpf", self.bpf)
            self._load_pass()
        except BaseException:
            self.close()
            raise

    def _load_pass(self):
        """Every host end gets this program: see xdp_pass.bpf.c."""
        run("bpftool", "prog", "load", self.compile("xdp_pass"), self.bpf / "xdp_pass")

    def compile(self, name):
        """The object file of a BPF program beside this file."""
        built = self.dir / f"{name}.o"
        include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
        run("clang", "-O2", "-g", "-target", "bpf", include, "-c", HERE / f"{name}.bpf.c", "-o", built)
        return built

    def namespace(self, short):
        return Namespace(self, short)

    def spawn(self, name, argv, env=None):
        process = Process(name, argv, self.dir / f"{name}.log", env)
        self.processes.append(process)
        return process

    def end(self, process, number=signal.SIGTERM):
        """Stops one process before the lab ends."""
        if process in self.processes:
            self.processes.remove(process)
            return process.stop(number)
        return None

    def pair(self, a, a_name, b, b_name):
        """A veth pair between two namespaces, both ends up."""
        run("ip", "link", "add", a_name, "netns", a.name, "type", "veth", "peer", "name", b_name, "netns", b.name)
        a.ip(f"link set dev {a_name} up")
        b.ip(f"link set dev {b_name} up")

    def host_end(self, namespace, interface):
        """Makes an end fit for a native XDP program at the other one: it fills in checksums, leaves
        VLAN tags in the frame, and accepts XDP frames."""
        namespace.run("ethtool", "-K", interface, "tx", "off", "gro", "off", "txvlan", "off")
        namespace.ip(f"link set dev {interface} xdpdrv pinned {self.bpf}/xdp_pass")

    def logs(self, last=40):
        """The end of every log, for the report of a failed test."""
        found = []
        for path in sorted(self.dir.glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            if lines:
                found.append(f"--- {path.name}\n" + "\n".join(line[:400] for line in lines[-last:]))
        return "\n".join(found)

    def close(self):
        """Interrupted, it is run again at exit."""
        for process in reversed(self.processes):
            with contextlib.suppress(Exception):
                process.stop(timeout=3)
        self.processes.clear()
        for close in reversed(self.closers):
            with contextlib.suppress(Exception):
                close()
        self.closers.clear()
        for namespace in reversed(self.namespaces):
            namespace.delete()
        self.namespaces.clear()
        _remove_dir(self.dir)
        atexit.unregister(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _remove_dir(path):
    run("umount", "-l", path / "bpf", check=False)
    shutil.rmtree(path, ignore_errors=True)


def reap():
    """Removes what labs of dead processes left: their processes, namespaces, mounts, directories."""
    pattern = re.compile(r"^loom-(?:net|demo)-(\d+)-\d+")

    def dead(name):
        match = pattern.match(name)
        return match and not pathlib.Path("/proc", match.group(1)).exists()

    for line in run("ip", "netns", "list").stdout.splitlines():
        name = line.split()[0]
        if not dead(name):
            continue
        for pid in run("ip", "netns", "pids", name, check=False).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", name, check=False)
    for path in BASE.glob("loom-*"):
        if dead(path.name):
            _remove_dir(path)


class Topology:
    """What both drawings in README.md share: a client, the balancer's host, backends on a switch."""

    def __init__(self, lab, backends, one_armed=False):
        self.lab = lab
        self.one_armed = one_armed
        self.client = lab.namespace("client")
        self.lb = lab.namespace("lb")
        self.switch = lab.namespace("sw")
        self.backends = []
        self.lb.sysctl("net/ipv4/ip_forward", 1)
        self.lb.sysctl("net/ipv6/conf/all/forwarding", 1)
        for which in ("all", "default"):
            self.lb.sysctl(f"net/ipv4/conf/{which}/send_redirects", 0)
        self.lb.ip(f"addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad")
        self.switch.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0\nlink set br0 up")
        if one_armed:
            self.interfaces = ["lb0"]
            self._wire_one_arm()
        else:
            self.interfaces = ["lb0", "lb1"]
            self._wire_two_arms()
        self.client.ip("addr add 10.9.0.2/24 dev c0\naddr add fd09::2/64 dev c0 nodad\n"
                       "route add default via 10.9.0.1\nroute add default via fd09::1")
        for number in range(1, backends + 1):
            self.add_backend(number)

    def _wire_two_arms(self):
        self.lab.pair(self.lb, "lb0", self.client, "c0")
        self.lab.pair(self.lb, "lb1", self.switch, "uplink")
        self.lab.host_end(self.client, "c0")
        self._uplink()
        self.lb.ip("addr add 10.9.0.1/24 dev lb0\naddr add fd09::1/64 dev lb0 nodad\n"
                   "addr add 10.1.0.1/24 dev lb1\naddr add fd01::1/64 dev lb1 nodad")

    def _wire_one_arm(self):
        self.lab.pair(self.lb, "lb0", self.switch, "uplink")
        self._uplink()
        self._plug(self.client, "c0", "pc")
        self.lb.ip("addr add 10.9.0.1/24 dev lb0\naddr add fd09::1/64 dev lb0 nodad\n"
                   "addr add 10.1.0.1/24 dev lb0\naddr add fd01::1/64 dev lb0 nodad")

    def _uplink(self):
        self.switch.ip("link set dev uplink master br0")
        self.lab.host_end(self.switch, "uplink")

    def _plug(self, namespace, interface, port):
        """Connects a host to the switch.  Frames reach it as ordinary ones, so it needs no program."""
        self.lab.pair(namespace, interface, self.switch, port)
        self.switch.ip(f"link set dev {port} master br0")
        namespace.run("ethtool", "-K", interface, "tx", "off", "gro", "off", "txvlan", "off")

    def add_backend(self, number, name=None):
        """A host b<number> at 10.1.0.1<number> and fd01::1<number>, routing through the balancer."""
        host = self.lab.namespace(name or f"b{number}")
        for which in ("all", "default"):
            host.sysctl(f"net/ipv4/conf/{which}/arp_notify", 1)
            host.sysctl(f"net/ipv6/conf/{which}/ndisc_notify", 1)
        self._plug(host, "e0", f"p{number}")
        host.address4, host.address6 = f"10.1.0.1{number}", f"fd01::1{number}"
        host.ip(f"addr add {host.address4}/24 dev e0\naddr add {host.address6}/64 dev e0 nodad\n"
                "route add default via 10.1.0.1\nroute add default via fd01::1")
        self.backends.append(host)
        return host
