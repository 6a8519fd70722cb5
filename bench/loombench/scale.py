"""Thousands of backends: how long a start takes, a change, a rebuilding of all tables; and that a removal is one."""
import http.client
import json
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

from . import traffic
from .lab import Failure

SERVICES, EACH = 1000, 10
SERVED = 7                # the service that has traffic
REMOVED = 3               # of its backends
SLOTS, OTHER_SLOTS = 65537, 65539


def vip(service):
    return f"10.128.{service // 250}.{service % 250 + 1}"


def backend(service, number):
    return f"10.64.{service // 25}.{service % 25 * EACH + number + 1}"


class Api(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))

    def call(self, method, path, body=None):
        """Seconds that it took, and the answer's bytes.  The daemon ends connections that rest for long."""
        begun = time.monotonic()
        try:
            self.request(method, path, body and json.dumps(body))
            answer = self.getresponse()
        except (BrokenPipeError, http.client.RemoteDisconnected):
            self.close()
            self.request(method, path, body and json.dumps(body))
            answer = self.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise Failure(f"{method} {path}: {answer.status} {data[:500].decode(errors='replace')}")
        return time.monotonic() - begun, data


class Onlooker:
    """Asks for /health over and over: how long the daemon leaves others waiting."""

    def __init__(self, path, every=0.001):
        self.api, self.took, self.ended, self.every = Api(path), [], threading.Event(), every
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ended.wait(self.every):
            self.took.append(self.api.call("GET", "/health")[0])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.ended.set()
        self.thread.join()
        self.api.close()


class Site(traffic.Site):
    """One host, behind one gateway, has all backends' addresses."""
    prepared = True
    label = "Loom"

    def wire(self):
        super().wire()
        self.lab.ip(self.client, "route add 10.128.0.0/16 via 10.0.0.1")
        self.lab.ip(self.be, "route add local 10.64.0.0/16 dev lo")
        self.lab.ip(self.lb, "route add 10.64.0.0/16 via 10.1.0.2")

    def target(self, port):
        return vip(SERVED), traffic.HTTP_PORT

    def configure(self, weight=100, slots=SLOTS):
        config = {
            "instance": "bench", "state_dir": str(self.lab.tmp / "scale-state"),
            "admin": {"listen": "127.0.0.1:9091", "socket": str(self.socket)},
            "ebpf": {"pin_path": str(self.pins), "maps": {"backends": {"max_entries": SERVICES * EACH + 1000}},
                     "xdp": {"interface": ["lb0", "lb1"], "mode": "native",
                             "load_balancing": {"maglev_table_size": slots}}},
            "services": [{"name": f"s{s}", "addresses": [vip(s)], "protocol": "tcp", "ports": [80], "nat": "full",
                          "backends": [{"id": s * EACH + n + 1, "address": backend(s, n), "weight": weight if n else 100,
                                        "port": traffic.NGINX_PORT} for n in range(EACH)]} for s in range(SERVICES)],
        }
        self.file.write_text(json.dumps(config) + "\n", encoding="utf-8")

    def set_up(self):
        self.socket, self.file = self.lab.tmp / "scale.sock", self.lab.tmp / "scale.yaml"
        self.pins = self.lab.bpffs("scale") / "loom"
        (self.lab.tmp / "scale-state").mkdir()
        self.configure()
        self.start_s = self.start()

    def start(self):
        begun = time.monotonic()
        self.daemon = self.lab.start(self.lb, f"scale-loomd-{begun:.0f}", str(self.lab.loomd), "run", "-c", str(self.file))
        self.daemon.wait_for(lambda: "ready" in self.daemon.output(), 60)
        self.api = Api(self.socket)
        return time.monotonic() - begun

    def restart(self):
        """It takes over the running data path."""
        self.api.close()
        self.daemon.popen.send_signal(signal.SIGTERM)
        self.daemon.popen.wait(60)
        return self.start()

    def syns(self, address):
        """Counts the SYNs that reach one address, at its host, from now on."""
        self.lab.run(self.be, "nft", "-f", "-", stdin="table ip scale {\nchain in {\ntype filter hook prerouting priority "
                     f"-300;\nip daddr {address} tcp flags & (syn | ack) == syn counter\n}}\n}}\n")
        return lambda: int(re.search(r"packets (\d+)", self.lab.run(self.be, "nft", "list", "table", "ip", "scale"))[1])

    def memory(self):
        """Bytes of the process, and of the BPF maps it holds."""
        pid = self.daemon.popen.pid
        maps = {}
        for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
            info = dict(re.findall(r"^(map_id|memlock):\s+(\d+)", path.read_text(), re.M))
            if "map_id" in info:
                maps[info["map_id"]] = int(info["memlock"])
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return {"process": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024, "maps": sum(maps.values())}


def timed(site, changes):
    """Seconds of each change, and what an onlooker waited beside them."""
    with Onlooker(site.socket) as onlooker:
        took = [site.api.call(*change)[0] for change in changes]
    onlooker.took.sort()
    return {"seconds": took, "beside_p99": onlooker.took[-1 - len(onlooker.took) // 100], "beside_max": onlooker.took[-1]}


def changes(count):
    """Of other services than the one with traffic."""
    ids = [(i * 37 % (SERVICES - 100) + 100) * EACH + i % EACH + 1 for i in range(count)]
    new = [{"service": f"s{i * 7 % SERVICES}", "address": f"10.64.{200 + i // 250}.{i % 250 + 1}", "port": 8080}
           for i in range(count)]
    return {"PATCH": [("PATCH", f"/ebpf/backends/{b}", {"weight": 50 + i}) for i, b in enumerate(ids)],
            "POST": [("POST", "/ebpf/backends", row) for row in new],
            "DELETE": [("DELETE", f"/ebpf/backends/{b}") for b in ids]}


def removal(site):
    """New connections that reached a backend before, and after its DELETE was answered, under load."""
    count = site.syns(backend(SERVED, REMOVED))
    address, port = site.target(80)
    load = subprocess.Popen(["ip", "netns", "exec", site.client, str(site.tools / "bench-hammer"), address, str(port),
                             traffic.CLIENT_FIRST, str(traffic.CLIENTS), "1", "16", "20000", "1"],
                            stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while count() < 100:
            if time.monotonic() > deadline:
                raise Failure("the backend to be removed gets no connections")
        site.api.call("DELETE", f"/ebpf/backends/{SERVED * EACH + REMOVED + 1}")
        before = count()
        result = json.loads(load.communicate(timeout=120)[0])
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    return {"before": before, "after": count() - before, "failed": result["failed"], "requests": 20000}


def measure(lab, tools, quick, say):
    if not lab.loomd:
        return None
    say(f"{SERVICES} services: start")
    site = Site(lab, tools, "scale")
    result = {"start_s": site.start_s, "memory": site.memory()}
    say(f"{SERVICES} services: answers and changes")
    result["get"] = {path: statistics.median(site.api.call("GET", path)[0] for _ in range(5))
                     for path in ("/ebpf/backends", "/metrics", "/services")}
    result["changes"] = {kind: timed(site, list_) for kind, list_ in changes(50 if quick else 200).items()}
    result["removal"] = removal(site)
    if result["removal"]["after"]:
        raise Failure(f"{result['removal']['after']} new connections reached a backend after its DELETE was answered")
    say(f"{SERVICES} services: all tables anew")
    site.configure(weight=60)
    result["edit_all_s"] = site.api.call("POST", "/config/reload")[0]
    site.configure(weight=60, slots=OTHER_SLOTS)
    result["swap_all_s"] = site.api.call("POST", "/config/reload")[0]
    result["restart_s"] = site.restart()
    return result
