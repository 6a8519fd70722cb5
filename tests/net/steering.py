"""Socket steering's surroundings: one namespace with loopback, unmodified servers in it, loads that count all.

    with steer_lab() as net:
        server = net.python("udp", 4)
        with net.load("echo", record=True) as load:
            load.more(1000)
        assert load.failed() == 0

Clients and servers share a namespace: a client's source address is any of 127.0.0.0/8, a source port never comes
twice, so a flow is known by its address and port wherever it is seen.
"""
import collections
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading

import pytest

from balancer import BUILD, Loom, UnixConnection
from lab import HERE, PATIENCE, Lab, LabError, run, until

ADDRESS, PORT = "127.0.0.1", 7000
# Whether a program may read its own group, as least_loaded and exact comparisons take it.
RELEASE = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
READS_GROUP = RELEASE >= (6, 2)
reads_group = pytest.mark.skipif(not READS_GROUP, reason="needs bpf_rdonly_cast (Linux 6.2)")
KINDS = {"http": "tcp", "line": "tcp", "echo": "udp", "dns": "udp"}

NGINX = """daemon off;
user root;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 4000; accept_mutex off; }}
http {{
	access_log off;
	default_type text/plain;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {{
		listen {address}:{port} reuseport backlog=511;
		location / {{ return 200 "$pid\\n"; }}
	}}
}}
"""

HAPROXY = """global
	nbthread {workers}
	maxconn 4000
defaults
	mode http
	timeout client 10s
	timeout server 10s
	timeout connect 1s
frontend f
	bind {address}:{port} shards by-thread backlog 1024
	http-request return status 200 content-type text/plain lf-string "%[thread]\\n"
"""

UNBOUND = """server:
	interface: {address}
	port: {port}
	access-control: 127.0.0.0/8 allow
	do-daemonize: no
	do-tcp: no
	chroot: ""
	username: ""
	pidfile: ""
	directory: "{dir}"
	use-syslog: no
	logfile: "{dir}/queries"
	log-queries: yes
	verbosity: 1
	num-threads: {workers}
	so-reuseport: yes
	outgoing-range: 16
	num-queries-per-thread: 1024
	module-config: "iterator"
	root-hints: ""
	local-zone: "loom.test." redirect
	local-data: "loom.test. 60 IN A 192.0.2.80"
remote-control:
	control-enable: no
"""


class Server:
    """A server's process and, as it becomes known, who its workers are."""

    def __init__(self, net, name, argv, port, pattern):
        self.net, self.name, self.port = net, name, port
        self.process = net.host.spawn(name, *argv)
        if pattern:
            self.process.wait_line(pattern)

    @property
    def pid(self):
        return self.process.pid

    def stop(self, number=signal.SIGTERM):
        self.net.lab.end(self.process, number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Python(Server):
    """steer_server.py: workers with one socket each, whose numbers and process ids are known."""

    kind = {"tcp": "line", "udp": "echo"}

    def __init__(self, net, protocol, workers=4, first=0, port=PORT, address=ADDRESS, **options):
        argv = [sys.executable, HERE / "steer_server.py", protocol, address, port, "--workers", workers, "--first", first]
        for key, value in options.items():
            argv += [f"--{key}", value]
        super().__init__(net, f"{protocol}-{first}", argv, port, "^ready")
        self.load_kind = self.kind[protocol]
        self.workers = {int(line.split()[1]): int(line.split()[2]) for line in self.process.lines
                        if line.startswith("worker ")}

    def send(self, number, sig):
        os.kill(self.workers[number], sig)


class Member(Server):
    """steer_member.c: one worker, restarted as services are.  With a group it joins by libloom.  indices: lists, each
    published when it is told to publish."""

    def __init__(self, net, protocol, number, group_name="", generation=0, port=PORT, address=ADDRESS, indices=()):
        self.number = number
        env = dict(os.environ, LOOM_STEER_SOCKET=str(net.lab.dir / "join.sock"))
        net_argv = [BUILD / "tests/net/steer_member", protocol, address, port, number, group_name, generation,
                    *(",".join(map(str, some)) for some in indices)]
        self.net, self.name, self.port = net, f"member-{protocol}", port
        self.process = net.host.spawn(self.name, *net_argv, env=env)
        self.slot = int(self.process.wait_line("^ready ").split()[1])

    def publish(self):
        """The next list: what libloom's call returned."""
        seen = len(self.process.lines)
        self.process.send(signal.SIGHUP)
        return int(self.process.wait_line("^published ", start=seen).split()[1])

    def end(self, timeout=30):
        """Asks it to end and waits until it has, in its own time: what it said."""
        self.process.send(signal.SIGTERM)
        return self.ended(timeout)

    def ended(self, timeout=30):
        code = self.process.wait(timeout)
        self.net.lab.end(self.process)
        if code:
            raise LabError(f"{self.name} {self.number}: exit {code}: " + "\n".join(self.process.lines))
        return self.process.lines


class Nginx(Server):
    load_kind = "http"

    def __init__(self, net, workers=4, port=PORT, address=ADDRESS):
        self.dir = net.directory("nginx")
        self.config = self.dir / "nginx.conf"
        self.config.write_text(NGINX.format(dir=self.dir, port=port, address=address, workers=workers), encoding="ascii")
        self.argv = ["nginx", "-e", "stderr", "-p", self.dir, "-c", self.config]
        super().__init__(net, "nginx", self.argv, port, None)
        for number in range(workers):
            del number
            self.process.wait_line("start worker process ")
        net.listening(port, workers)

    def check(self):
        """nginx -t: binds, and joins the group for a moment."""
        return self.net.host.run(*self.argv, "-t", check=False)


class Haproxy(Server):
    load_kind = "http"

    def __init__(self, net, workers=4, port=PORT, address=ADDRESS):
        where = net.directory("haproxy")
        config = where / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=port, address=address, workers=workers), encoding="ascii")
        super().__init__(net, "haproxy", ["haproxy", "-db", "-f", config], port, None)
        net.listening(port, workers)


class Unbound(Server):
    """Its queries' log says which thread answered which name, and names tell flows."""

    load_kind = "dns"

    def __init__(self, net, workers=4, port=PORT, address=ADDRESS):
        self.dir = net.directory("unbound")
        config = self.dir / "unbound.conf"
        config.write_text(UNBOUND.format(dir=self.dir, port=port, address=address, workers=workers), encoding="ascii")
        super().__init__(net, "unbound", ["unbound", "-d", "-c", config], port, None)
        until("unbound serves", lambda: "start of service" in self.log() and net.sockets(port, udp=True) == workers)

    def log(self):
        path = self.dir / "queries"
        return path.read_text(encoding="ascii", errors="replace") if path.exists() else ""

    def threads(self):
        """{flow number: thread} of all queries so far."""
        return {int(name): int(thread)
                for thread, name in re.findall(r"unbound\[\d+:(\w+)\] info: [\d.]+ f(\d+)\.loom\.test\. A", self.log())}


Answer = collections.namedtuple("Answer", "address port worker what us flow")


class SteerLoad:
    """steer_load.c in the namespace."""

    lanes = 0

    def __init__(self, net, kind, record=False, port=PORT, address=ADDRESS, source=None, **options):
        self.net, self.kind = net, kind
        self.final = None
        SteerLoad.lanes += 1
        self.file = net.lab.dir / f"record-{SteerLoad.lanes}"
        # A second octet of its own: no two loads of a lab share a source.
        options["from"] = source or f"127.{SteerLoad.lanes % 250 + 1}.0.1"
        if record:
            options["record"] = self.file
        # In proportion: requests are as slow as all else.
        options["timeout"] = int(options.get("timeout", 5000) * PATIENCE / 40)
        self.argv = [net.steer_load, kind, address, port, *(f"{key}={value}" for key, value in options.items())]
        self.process = None

    def __enter__(self):
        self.process = self.net.host.spawn(f"load-{self.kind}", *self.argv)
        self.process.wait_line('"requests": [1-9]')
        return self

    def __exit__(self, *_):
        if self.process in self.net.lab.processes:
            self.net.lab.end(self.process)
            self.final = json.loads(self.process.lines[-1])

    def finish(self, timeout=3 * PATIENCE):
        """Waits for a load with a count."""
        self.process.wait(timeout)
        self.__exit__()
        return self.final

    def so_far(self):
        return self.final or json.loads(self.process.lines[-1])

    def more(self, requests=1000, timeout=PATIENCE):
        """Returns after so many more requests were answered or failed."""
        seen = len(self.process.lines)
        goal = self.so_far()["requests"] + requests
        while self.so_far()["requests"] < goal:
            self.process.wait_line(".", timeout, seen)
            seen = len(self.process.lines)

    def failed(self):
        return self.so_far()["failed"]

    def complaint(self):
        """What an assertion shows."""
        said = self.so_far()
        return {key: said[key] for key in ("requests", "refused", "reset", "timeout", "other", "moved")} | {
            "first": said["failures"][:3]}

    def answers(self):
        """Each flow's first answer: needs record=True, and the load's end."""
        found = []
        for line in self.file.read_text(encoding="ascii").splitlines():
            address, port, worker, what, us, flow = line.split()
            found.append(Answer(address, int(port), int(worker), what, int(us), int(flow)))
        return found

    def by_worker(self):
        return {int(worker): count for worker, count in self.so_far()["by_worker"].items()}


class SteerLoom(Loom):
    """loomd with steering alone, in the namespace of the servers."""

    def __init__(self, net, groups, prefix=(), **steering):
        # pylint: disable=super-init-not-called
        self.net, self.topo, self.lab = net, net, net.lab
        self.instance = "s1"
        self.socket = self.lab.dir / "admin.sock"
        self.join = self.lab.dir / "join.sock"
        self.pins = self.lab.bpf / "loom"
        self.file = self.lab.dir / "loom.yaml"
        self.process = None
        self.prefix = list(prefix)
        self.config = {
            "instance": self.instance,
            "state_dir": str(self.lab.dir / "state"),
            "admin": {"socket": str(self.socket)},
            "ebpf": {"pin_path": str(self.pins)},
            "steering": {"join": {"socket": str(self.join)}, "groups": groups, **steering},
        }
        self.state = self.lab.dir / "state"
        self.write()

    def start(self):
        if not (BUILD / "loomd").exists():
            raise LabError(f"cannot find {BUILD}/loomd; run 'make build', or set LOOM_BUILD")
        self.process = self.net.host.spawn("loomd", *self.prefix, BUILD / "loomd", "run", "-c", self.file)
        self.process.wait_line(r"\bready\b")
        return self

    def detach(self):
        return self.net.host.run(BUILD / "loomd", "detach", "-c", self.file)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        """Ends it, whatever state it is in, and puts everything back."""
        if self.process:
            self.stop()
        self.detach()
        shutil.rmtree(self.state, ignore_errors=True)

    def steer(self, *argv, check=True):
        return self.net.host.run(BUILD / "loom", "--socket", self.socket, "steer", *argv, check=check)

    def group(self, name="g"):
        return self.api("GET", f"/steer/groups/{name}")

    def ask(self, what, name="g", /, **body):
        """POST /steer/groups/NAME/WHAT."""
        return self.api("POST", f"/steer/groups/{name}/{what}", body)

    def rollout(self, state, name="g", **more):
        return self.ask("rollout", name, state=state, force=True, **more)

    def policy(self, policy, name="g", /, **more):
        """Another policy, enforced."""
        self.ask("policy", name, name=policy, **more)
        return self.rollout("enforced", name)

    def members(self, name="g", state="active"):
        return [row for row in self.group(name)["members"] if row["state"] == state]

    def settled(self, count, name="g", timeout=PATIENCE):
        """The members, when so many are active and none in quarantine."""
        return until(f"{count} active members",
                     lambda: len(self.members(name)) == count and not self.members(name, "quarantined") and
                     sorted(self.members(name), key=lambda row: row["slot"]), timeout)

    def until(self, what, question, name="g", timeout=PATIENCE):
        """The group, when the question about it is answered with yes."""
        return until(what, lambda: (lambda found: found if question(found) else None)(self.group(name)), timeout)

    @contextlib.contextmanager
    def trace(self, name="g", **query):
        """Decisions as they happen: a list that is complete after the block."""
        query = {"duration": f"{3 * PATIENCE:.0f}s", **query}
        path = f"/steer/groups/{name}/trace?" + "&".join(f"{key}={value}" for key, value in query.items())
        found = Trace(self, path)
        with found:
            yield found


class Trace:
    """A trace's lines, read by a thread: the kernel's buffer is small."""

    def __init__(self, loom, path):
        self.connection = UnixConnection(loom.socket, 3 * PATIENCE)
        self.connection.request("GET", path)
        self.answer = self.connection.getresponse()
        if self.answer.status != 200:
            raise LabError(f"GET {path}: {self.answer.status} {self.answer.read()}")
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.decisions, self.end = [], None

    def _read(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            for line in self.answer:
                self.lines.append(line)

    def wait(self, timeout=PATIENCE):
        """Until the trace ends by its own limit."""
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise LabError(f"the trace has {len(self.lines)} lines and goes on")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.connection.close()
        for line in self.lines:
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if row["event"] == "decision":
                    self.decisions.append(row)
                else:
                    self.end = row


def group(protocol="udp", name="g", address=ADDRESS, port=PORT, policy="hash", **more):
    """A row of steering.groups, impatient enough for tests."""
    return {"name": name, "protocol": protocol, "address": address, "port": port, "policy": policy,
            "quarantine": "100ms", **more}


class SteerNet:
    """The lab: one namespace, everything in it."""

    def __init__(self, lab):
        self.lab = lab
        self.host = self.lb = self.client = lab.namespace("host")
        self.host.sysctl("net/ipv4/tcp_migrate_req", 0)
        self.steer_load = self.cc("steer_load")
        self.counts = collections.Counter()

    def cc(self, name, *flags):
        """The program built from a C file beside this one."""
        built = self.lab.dir / name
        run("cc", "-O2", "-pthread", "-Wall", "-o", built, HERE / f"{name}.c", *flags)
        return built

    def directory(self, name):
        self.counts[name] += 1
        where = self.lab.dir / f"{name}-{self.counts[name]}"
        where.mkdir()
        return where

    def sockets(self, port, udp=False):
        """How many server sockets the kernel has on a port."""
        kind = "-uan" if udp else "-ltn"
        return len(self.host.run("ss", "-H", kind, "sport", "=", f":{port}").stdout.split("\n")) - 1

    def queues(self, port, udp=False):
        """What waits in each socket: connections to accept, or bytes."""
        kind = "-uan" if udp else "-ltn"
        rows = self.host.run("ss", "-H", kind, "sport", "=", f":{port}").stdout.splitlines()
        return [int(row.split()[1]) for row in rows]

    def listening(self, port, count, udp=False):
        until(f"{count} sockets on port {port}", lambda: self.sockets(port, udp) == count)

    @staticmethod
    def traced(trace, count):
        """Returns when the trace has told of so many."""
        until(f"{count} decisions", lambda: len(trace.lines) >= count)

    def python(self, protocol, workers=4, **options):
        return Python(self, protocol, workers, **options)

    def load(self, kind, **options):
        return SteerLoad(self, kind, **options)


SERVERS = {
    "nginx": Nginx,
    "haproxy": Haproxy,
    "unbound": Unbound,
    "python-udp": lambda net: net.python("udp"),
    "python-tcp": lambda net: net.python("tcp"),
}


@contextlib.contextmanager
def steer_lab():
    with Lab() as lab:
        try:
            yield SteerNet(lab)
        except BaseException:
            sys.stderr.write(lab.logs() + "\n")
            raise
