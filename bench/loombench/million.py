"""A million connections in the table: memory, the sweep and what it costs the data path, the API's pages; then twice as
many as there is room for, beside some that go on sending."""
import json
import os
import re
import signal
import statistics
import time

from . import pps
from .lab import Failure, sh
from .scale import Api

CHUNK = 1 << 17           # flows of one run of the sender
CHUNKS = 8                # a million
ROOM = CHUNK * CHUNKS * 5 // 4
KEEPERS = 1 << 10         # that go on sending while the table overflows
KEEPER_CLIENT = "10.200.0.0"
KEEPER_BITS = 5           # of the client's address that blast.c varies for so many flows
PAGE = 1000


class Path(pps.Loom):
    def set_up(self):
        self.socket, self.state = self.lab.tmp / "million.sock", self.lab.tmp / "million-state"
        self.state.mkdir()
        self.pins = self.lab.bpffs("million") / "loom"
        path = self.lab.tmp / "million.yaml"
        path.write_text(json.dumps({
            "instance": "bench", "state_dir": str(self.state),
            "admin": {"listen": "127.0.0.1:9091", "socket": str(self.socket)},
            "ebpf": {"pin_path": str(self.pins), "xdp": {"interface": ["lb0", "lb1"], "mode": "native"},
                     "conntrack": {"max_entries": ROOM, "sweep_interval": "100ms"}},
            "services": [{"name": "web", "addresses": [pps.VIP], "protocol": "tcp", "ports": [pps.VIP_PORT], "nat": "full",
                          "backends": [{"address": a, "port": pps.BACKEND_PORT} for a in pps.BACKENDS]}]}) + "\n")
        self.daemon = self.lab.start(self.lb, "million-loomd", str(self.lab.loomd), "run", "-c", str(path))
        self.daemon.wait_for(lambda: "ready" in self.daemon.output(), 30)
        self.api = Api(self.socket)

    def send(self, client, flows, cpu, turns=1, seconds=0.06):
        args = [str(self.tools / "bench-blast"), "--from", f"{self.gen}:gen0", "--to", f"{self.be}:be0",
                "--next-mac", self.lb_mac, "--vip", self.vip, "--vip-port", str(pps.VIP_PORT),
                "--receive-port", str(self.receive_port), "--client", client, "--flows", str(flows),
                "--cpu", str(cpu), "--seconds", str(seconds), "--warm-up", str(flows * turns)]
        result = json.loads(sh(*args, timeout=120))
        return result["received"] / result["cpu_seconds"] / 1e6

    def chunk(self, number, cpu):
        return self.send(f"10.128.{number}.0", CHUNK, cpu)

    def keep(self, cpu):
        return self.send(KEEPER_CLIENT, KEEPERS, cpu, turns=2)

    def metrics(self):
        text = self.api.call("GET", "/metrics")[1].decode()
        return {name + (labels or ""): float(value)
                for name, labels, value in re.findall(r"^(\w+)(\{[^}]*\})? (\S+)$", text, re.M)}

    def next_sweep(self, passes=2):
        """Waits for that many whole passes; seconds of the last."""
        first = self.metrics()["loom_ebpf_sweeps_total"]
        deadline = time.monotonic() + 120
        while True:
            now = self.metrics()
            if now["loom_ebpf_sweeps_total"] >= first + passes:
                return now["loom_ebpf_sweep_duration_seconds"]
            if time.monotonic() > deadline:
                raise Failure("the table is not swept")
            time.sleep(0.05)

    def pages(self, query=""):
        """All connections page by page: the pages' seconds, and the connections."""
        took, rows, cursor = [], [], None
        while True:
            path = f"/ebpf/connections?limit={PAGE}{query}" + (f"&cursor={cursor}" if cursor else "")
            seconds, data = self.api.call("GET", path)
            page = json.loads(data)
            took.append(seconds)
            rows += [(row["client"], row["source"], row["backend"]) for row in page["connections"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return took, rows

    def keepers(self):
        """Where each is sent, and from which address and port: another one would be another connection."""
        rows = self.pages(f"&client={KEEPER_CLIENT}/{32 - KEEPER_BITS}")[1]
        return {client: (source, backend) for client, source, backend in rows}

    def table_bytes(self):
        """What the kernel charges for the tables of connections, and their room in entries."""
        found = [json.loads(sh("bpftool", "-j", "map", "show", "pinned", str(path)))
                 for path in self.pins.rglob("lb_conns4")]
        return int(found[0]["bytes_memlock"]), int(found[0]["max_entries"])


def sweep_effect(path, cpu, rounds):
    """Mpps with the daemon sweeping without pause, and with it stopped, in turn."""
    rates = {"swept": [], "stopped": []}
    for index in range(rounds):
        for kind in ("swept", "stopped") if index % 2 == 0 else ("stopped", "swept"):
            if kind == "stopped":
                path.daemon.popen.send_signal(signal.SIGSTOP)
            try:
                rates[kind].append(path.send("10.128.0.0", CHUNK, cpu, seconds=0.5))
            finally:
                path.daemon.popen.send_signal(signal.SIGCONT)
    return rates


def overflow(path, cpu, say):
    """Twice the table's room of new connections; who was sending all the time must be who he was."""
    path.keep(cpu)
    before = path.keepers()
    chunks = 2 * ROOM // CHUNK
    for number in range(chunks):
        say(f"overflow: {number + 1} of {chunks}")
        path.chunk(CHUNKS + number, cpu)
        path.keep(cpu)
    after = path.keepers()
    kept = sum(after.get(client) == way for client, way in before.items())
    return {"keepers": len(before), "lost": len(before) - kept, "new": chunks * CHUNK}


def measure(lab, tools, quick, say):
    cpu = min(1, os.cpu_count() - 1)
    path = Path(lab, tools, "million")
    empty = path.next_sweep()
    for number in range(CHUNKS):
        say(f"filling: {(number + 1) * CHUNK:,}")
        path.chunk(number, cpu)
    result = {"sweep_empty_s": empty, "sweep_s": path.next_sweep()}
    result["bytes"], result["entries"] = path.table_bytes()
    say("effect of the sweep")
    result["mpps"] = sweep_effect(path, cpu, 3 if quick else 7)
    say("paging")
    took, rows = path.pages()
    result["pages"], result["listed"] = took, len(rows)
    result["distinct"] = len({client for client, *_ in rows})
    result["overflow"] = overflow(path, cpu, say)
    result["sweep_full_s"] = path.next_sweep()
    result["metrics"] = {name: value for name, value in path.metrics().items() if value and "backend=" not in name}
    result["page_median_s"] = statistics.median(took)
    return result
