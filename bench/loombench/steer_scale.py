"""A thousand steering groups: what the daemon takes to find, attach and watch them, and how long it lets others wait."""
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

from .lab import Failure, sh
from .scale import Api, Onlooker

EACH = 4                  # sockets of a group, each another process's
FIRST_PORT = 10000
HOLDER = pathlib.Path(__file__).with_name("holder.py")


class Holder:
    """A process that has one socket of each group."""

    def __init__(self, netns, protocol, first, count):
        self.popen = subprocess.Popen(["ip", "netns", "exec", netns, sys.executable, str(HOLDER), protocol, str(first), str(count)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("ready")

    def _expect(self, word):
        line = self.popen.stdout.readline().strip()
        if line != word:
            raise Failure(f"a process with sockets said {line!r}")

    def do(self, what, port):
        """When it was done: monotonic seconds."""
        self.popen.stdin.write(f"{what} {port}\n")
        self.popen.stdin.flush()
        self._expect("ok")
        return time.monotonic()

    def stop(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


class Site:
    def __init__(self, lab, protocol, groups):
        self.lab, self.protocol, self.groups = lab, protocol, groups
        self.netns = lab.netns("steer")
        self.socket, self.file = lab.tmp / "steer.sock", lab.tmp / "steer.yaml"
        self.pins = lab.bpffs("steer") / "loom"
        (lab.tmp / "steer-state").mkdir()
        self.holders = []
        self.api = None
        self.runs = 0

    def hold(self, first, count):
        self.holders.append(Holder(self.netns, self.protocol, first, count))
        return self.holders[-1]

    def configure(self, names=None, **steering):
        names = range(self.groups) if names is None else names
        config = {"instance": "bench", "state_dir": str(self.lab.tmp / "steer-state"),
                  "admin": {"listen": "127.0.0.1:9092", "socket": str(self.socket)},
                  "ebpf": {"pin_path": str(self.pins)},
                  "steering": {"join": {"socket": str(self.lab.tmp / "join.sock")},
                               "groups": [{"name": f"g{n}", "protocol": self.protocol, "address": "127.0.0.1",
                                           "port": FIRST_PORT + n, "policy": "weighted", "quarantine": "0s",
                                           "rollout": {"target": "enforced"}} for n in names], **steering}}
        self.file.write_text(json.dumps(config) + "\n", encoding="utf-8")

    def start(self):
        """Seconds until it says it is ready; and until every group is attached."""
        self.runs += 1
        begun = time.monotonic()
        self.daemon = self.lab.start(self.netns, f"steer-loomd-{self.runs}", str(self.lab.loomd), "run", "-c", str(self.file))
        self.daemon.wait_for(lambda: "ready" in self.daemon.output(), 300)
        ready = time.monotonic() - begun
        self.api = Api(self.socket)
        with Onlooker(self.socket) as onlooker:
            self.await_(lambda: len(re.findall(r"group g\d+: attached by automatic", self.daemon.output())) >= self.groups, 120,
                        "not every group is attached")
        result = {"ready": ready, "attached": time.monotonic() - begun, "cpu": self.ran(), "answer": max(onlooker.took, default=0)}
        if self.attached() != self.groups:
            raise Failure("not every group is attached")
        return result

    def attached(self):
        rows = json.loads(self.api.call("GET", "/steer/groups")[1])
        rows = rows["groups"] if isinstance(rows, dict) else rows
        return sum(bool(row["attached"]) for row in rows)

    def ran(self):
        """Seconds of CPU since its start."""
        return int(pathlib.Path(f"/proc/{self.daemon.popen.pid}/schedstat").read_text().split()[0]) / 1e9

    def await_(self, done, seconds, what):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline or self.daemon.popen.poll() is not None:
                raise Failure(f"{what}: {self.daemon.tail()}")
            time.sleep(0.02)

    def stop(self):
        self.api.close()
        self.daemon.popen.send_signal(signal.SIGTERM)
        self.daemon.popen.wait(60)

    def cpu(self, seconds):
        """Percent of a CPU that the daemon takes while nobody asks it anything."""
        before, begun = self.ran(), time.monotonic()
        time.sleep(seconds)
        return (self.ran() - before) / (time.monotonic() - begun) * 100

    def members(self, group):
        data = json.loads(self.api.call("GET", f"/steer/groups/{group}")[1])
        return data["members"]

    def resident(self):
        status = pathlib.Path(f"/proc/{self.daemon.popen.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def held(self):
        """What the daemon has of the kernel's: descriptors, pins, programs and maps by their ids."""
        pid = self.daemon.popen.pid
        ids = {"map_id": {}, "prog_id": {}}
        fds = 0
        for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
            fds += 1
            with contextlib.suppress(FileNotFoundError):
                text = path.read_text()
                for kind, found in ids.items():
                    id_ = re.search(rf"^{kind}:\s+(\d+)", text, re.M)
                    memlock = re.search(r"^memlock:\s+(\d+)", text, re.M)
                    if id_:
                        found[id_[1]] = int(memlock[1]) if memlock else 0
        return {"fds": fds, "pins": sum(len(files) for _, _, files in os.walk(self.pins)), "programs": len(ids["prog_id"]),
                "maps": len(ids["map_id"]), "map_bytes": sum(ids["map_id"].values()), "resident": self.resident()}

    def close(self):
        for holder in self.holders:
            holder.stop()


def seen(site, group, word, at, since):
    """Milliseconds since then until the daemon says so, in its log from byte at on: a GET would look at the kernel itself."""
    deadline = time.monotonic() + 10
    while True:
        text = site.daemon.output()[at:]
        if f"group {group}: {word}" in text:
            return (time.monotonic() - since) * 1e3
        if time.monotonic() > deadline:
            raise Failure(f"group {group}: {word!r} is not in the log: {text[-500:]}")
        time.sleep(0.001)


def changes_seen(site, rounds):
    joins, deaths = [], []
    for i in range(rounds):
        port = FIRST_PORT + i * 37 % site.groups
        for what, word, into in (("join", "a new member", joins), ("leave", "a member has gone", deaths)):
            at = len(site.daemon.output())
            into.append(seen(site, f"g{port - FIRST_PORT}", word, at, site.holders[0].do(what, port)))
            time.sleep(0.03)
    return {"join_ms": joins, "death_ms": deaths}


def latencies(site, rounds):
    """Milliseconds of each request, until it was answered and of CPU that it took."""
    def of(n):
        return f"/steer/groups/g{(n * 13 + 5) % site.groups}"

    requests = {
        "GET /health": lambda n: ("GET", "/health"),
        "GET /steer/groups": lambda n: ("GET", "/steer/groups"),
        "GET /steer/groups/NAME": lambda n: ("GET", of(n)),
        "GET /metrics": lambda n: ("GET", "/metrics"),
        "rollout": lambda n: ("POST", of(n) + "/rollout", {"state": "enforced", "force": True}),
        "weight": lambda n: ("POST", of(n) + "/weight", {"member": {"slot": 1}, "weight": 50}),
        "drain": lambda n: ("POST", of(n) + "/drain", {"member": {"slot": 2}}),
        "undrain": lambda n: ("POST", of(n) + "/undrain", {"member": {"slot": 2}}),
        "swap": lambda n: ("POST", of(n) + "/swap", {"from": {"slot": 0}}),
        "policy": lambda n: ("POST", of(n) + "/policy", {"name": "least_loaded"}),
        "fallback": lambda n: ("POST", of(n) + "/fallback", {}),
        "resume": lambda n: ("POST", of(n) + "/resume", {}),
    }
    result = {}
    with Onlooker(site.socket, 0.02) as onlooker:
        for name, request in requests.items():
            result[name] = {"ms": [], "cpu_ms": []}
            for n in range(rounds):
                before = site.ran()
                result[name]["ms"].append(site.api.call(*request(n))[0] * 1e3)
                result[name]["cpu_ms"].append((site.ran() - before) * 1e3)
                time.sleep(0.01)
    result["meanwhile: GET /health"] = {"ms": [s * 1e3 for s in onlooker.took], "cpu_ms": [0]}
    return result


def leaks(site, churns, reloads):
    """What the daemon holds before and after members and groups that came and went."""
    def settle():
        time.sleep(1.5)
        return site.held()

    def churn(count):
        for i in range(count):
            port = FIRST_PORT + i % site.groups
            for what, word in (("join", "a new member"), ("leave", "a member has gone")):
                at = len(site.daemon.output())
                seen(site, f"g{port - FIRST_PORT}", word, at, site.holders[0].do(what, port))

    def reload(count):
        took = []
        for i in range(count):
            site.configure(range(site.groups - (10 if i % 2 == 0 else 0)))
            took.append(site.api.call("POST", "/config/reload")[0] * 1e3)
            if i % 2:
                site.await_(lambda: site.attached() == site.groups, 30, "a reload's groups are not attached")
        return took

    churn(churns // 10)
    reload(4)
    before = settle()
    churn(churns)
    took = reload(reloads)
    return {"before": before, "after": settle(), "reload_ms": took}


def big_group(lab, sockets, say):
    """One group with many sockets of one process."""
    say(f"a group of {sockets} sockets")
    site = Site(lab, "udp", 1)
    try:
        site.configure(poll="50ms")
        holder = site.hold(FIRST_PORT, 1)
        for _ in range(sockets - 1):
            holder.do("join", FIRST_PORT)
        start = site.start()
        site.await_(lambda: len(site.members("g0")) == sockets, 10, "not every socket is seen")
        members = site.members("g0")
        warnings = len(re.findall(r"more than 256 sockets", site.daemon.output()))
        result = {"start": start, "slots": sum(row["slot"] is not None for row in members), "warnings": warnings,
                  "cpu_percent": site.cpu(3),
                  "get_ms": statistics.median(site.api.call("GET", "/steer/groups/g0")[0] * 1e3 for _ in range(9)),
                  "weight_ms": statistics.median(site.api.call("POST", "/steer/groups/g0/weight", {"member": {"slot": 1}, "weight": 50 + i})[0] * 1e3
                                                 for i in range(9))}
        at = len(site.daemon.output())
        result["death_ms"] = seen(site, "g0", "a member has gone", at, holder.do("leave", FIRST_PORT))
        # Who had to wait for a slot gets one that is free again.
        for _ in range(sockets - 256):
            holder.do("leave-first", FIRST_PORT)
        site.await_(lambda: all(row["slot"] is not None for row in site.members("g0")), 10, "a socket waits for a free slot in vain")
        site.stop()
        return result
    finally:
        site.close()


def control(tools, rounds):
    return {size: [json.loads(line) for line in sh(str(tools / "bench-steer-control"), str(rounds), size, timeout=600).splitlines()]
            for size in ("4", "256")}


def measure(lab_type, loomd, tools, quick, say):
    groups = 100 if quick else 1000
    say("one group: attach and swap")
    result = {"groups": groups, "control": control(tools, 101 if quick else 1001)}
    with lab_type() as lab:
        lab.loomd = loomd
        site = Site(lab, "udp", groups)
        try:
            for _ in range(EACH):
                site.hold(FIRST_PORT, groups)
            site.configure(poll="50ms")
            say(f"{groups} groups: start")
            result["start"] = site.start()
            result["held"] = site.held()
            say(f"{groups} groups: idle")
            time.sleep(2)
            result["cpu_50ms"] = site.cpu(3 if quick else 10)
            say(f"{groups} groups: who comes and goes")
            result["seen"] = changes_seen(site, 5 if quick else 20)
            say(f"{groups} groups: the API")
            result["api"] = latencies(site, 3 if quick else 10)
            say(f"{groups} groups: leaks")
            result["leaks"] = leaks(site, 20 if quick else 200, 6 if quick else 50)
            say(f"{groups} groups: restart")
            site.stop()
            site.configure(poll="1s")
            result["restart"] = site.start()
            time.sleep(2)
            result["cpu_1s"] = site.cpu(3 if quick else 10)
            site.stop()
        finally:
            site.close()
    result["big"] = {}
    for sockets in (256, 300):
        with lab_type() as lab:
            lab.loomd = loomd
            result["big"][str(sockets)] = big_group(lab, sockets, say)
    return result
