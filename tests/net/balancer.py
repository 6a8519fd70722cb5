"""What stands in the middle: loomd, or nftables where only the rest is to be proven."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import sys

from lab import HERE, PATIENCE, Lab, LabError, Topology, VIP4, VIP6, run, until, url_host
from peers import DNS_PORT, HTTP_PORT, Nginx, Unbound

BUILD = pathlib.Path(os.environ.get("LOOM_BUILD", "build"))
if not BUILD.is_absolute():
    BUILD = HERE.parent.parent / BUILD


def backends(hosts, port, families=(4, 6)):
    """Rows of a service's backends, one per host and address family."""
    return [{"address": getattr(host, f"address{family}"), "port": port} for family in families for host in hosts]


def web(hosts, nat="full", **more):
    return {"name": "web", "addresses": [VIP4, VIP6], "protocol": "tcp", "ports": [80], "nat": nat,
            "backends": backends(hosts, HTTP_PORT), **more}


def dns(hosts, nat="full", **more):
    return {"name": "dns", "addresses": [VIP4, VIP6], "protocol": "udp", "ports": [53], "nat": nat,
            "backends": backends(hosts, DNS_PORT), **more}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Loom:
    """loomd in the balancer's namespace."""

    def __init__(self, topo, services, **ebpf):
        self.topo = topo
        self.lab = topo.lab
        self.instance = "t1"
        self.socket = self.lab.dir / "admin.sock"
        self.pins = self.lab.bpf / "loom"
        self.file = self.lab.dir / "loom.yaml"
        self.process = None
        self.config = {
            "instance": self.instance,
            "state_dir": str(self.lab.dir / "state"),
            "admin": {"listen": "127.0.0.1:9091", "socket": str(self.socket)},
            "ebpf": {"pin_path": str(self.pins), "xdp": {"interface": topo.interfaces, "mode": "native"}, **ebpf},
            "services": services,
        }
        (self.lab.dir / "state").mkdir(exist_ok=True)
        self.write()
        self.lab.closers.append(self.detach)

    def write(self, text=None):
        """The configuration file, from self.config (JSON is YAML) or as given."""
        self.file.write_text(text if text is not None else json.dumps(self.config, indent=1), encoding="utf-8")

    def start(self):
        if not (BUILD / "loomd").exists():
            raise LabError(f"cannot find {BUILD}/loomd; run 'make build', or set LOOM_BUILD")
        self.process = self.topo.lb.spawn("loomd", BUILD / "loomd", "run", "-c", self.file)
        self.process.wait_line(r"\bready\b")
        return self

    def stop(self, number=signal.SIGTERM):
        """Ends the daemon: SIGTERM leaves the data path, SIGINT removes it, SIGKILL asks nobody."""
        process, self.process = self.process, None
        return self.lab.end(process, number)

    def detach(self):
        return self.topo.lb.run(BUILD / "loomd", "detach", "-c", self.file)

    def cli(self, *argv, check=True):
        return self.topo.lb.run(BUILD / "loom", "--socket", self.socket, *argv, check=check)

    def raw(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """Status and bytes of one request over the UNIX socket."""
        connection = UnixConnection(self.socket, timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def api(self, method, path, body=None, status=None):
        """The answer's JSON; an error unless the status is as given, or a success."""
        code, data = self.raw(method, path, None if body is None else json.dumps(body))
        if code != status if status else code >= 300:
            raise LabError(f"{method} {path} {body}: {code} {data.decode(errors='replace')}")
        return json.loads(data)

    def metric(self, name, **labels):
        """One sample of /metrics."""
        text = self.raw("GET", "/metrics")[1].decode()
        for line in text.splitlines():
            match = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", line)
            if match and match[1] == name:
                found = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                if all(found.get(key) == value for key, value in labels.items()):
                    return float(match[3])
        raise LabError(f"no metric {name}{labels}")

    def count(self, reason):
        """Packets that ended so, or were noted so: LB_COUNTERS in src/abi/lb_abi.h."""
        return self.api("GET", "/ebpf/stats")["reasons"][reason]["packets"]

    def backend(self, host, port=HTTP_PORT, family=4):
        """The backend object of a host."""
        address = getattr(host, f"address{family}")
        for row in self.api("GET", "/ebpf/backends")["backends"]:
            if (row["address"], row["port"]) == (address, port):
                return row
        raise LabError(f"no backend {address}:{port}")

    def connections(self, limit=1000, **filters):
        """All pages of /ebpf/connections."""
        filters["limit"] = limit
        found = []
        while True:
            path = "/ebpf/connections?" + "&".join(f"{key}={value}" for key, value in filters.items())
            page = self.api("GET", path)
            if len(page["connections"]) > limit:
                raise LabError(f"{path}: {len(page['connections'])} connections on a page")
            found += page["connections"]
            if page["next_cursor"] is None:
                return found
            filters["cursor"] = page["next_cursor"]

    def map_path(self, name):
        found = list(self.pins.rglob(name))
        if len(found) != 1:
            raise LabError(f"pinned map {name}: {found}")
        return found[0]

    def map_dump(self, name):
        return json.loads(run("bpftool", "-j", "map", "dump", "pinned", self.map_path(name)).stdout)

    def map_delete(self, name, key):
        run("bpftool", "map", "delete", "pinned", self.map_path(name), "key", "hex", *(f"{b:02x}" for b in key))


class Nft:
    """nftables DNAT in Loom's place: shows that topology, servers and clients work by themselves."""

    def __init__(self, topo, services):
        self.topo = topo
        rules = ["table inet lb {", "chain pre { type nat hook prerouting priority dstnat;"]
        full = []
        for service in services:
            for vip in service["addresses"]:
                rules.append(self._rule(service, vip))
            if service["nat"] == "full":
                full += [f"{family(row['address'])} daddr {row['address']} {service['protocol']} dport {row['port']} "
                         "masquerade" for row in service["backends"]]
        rules += ["}", "chain post { type nat hook postrouting priority srcnat;", *full, "}", "}"]
        topo.lb.run("nft", "-f", "-", text="\n".join(rules) + "\n")

    @staticmethod
    def _rule(service, vip):
        rows = [row for row in service["backends"] if (":" in row["address"]) == (":" in vip)]
        to = ", ".join(f"{n} : {row['address']} . {row['port']}" for n, row in enumerate(rows))
        ports = ", ".join(map(str, service["ports"]))
        kind = family(vip)
        return (f"{kind} daddr {vip} {service['protocol']} dport {{ {ports} }} dnat {kind} to "
                f"numgen inc mod {len(rows)} map {{ {to} }}")

    def stop(self):
        self.topo.lb.run("nft", "delete", "table", "inet", "lb", check=False)


def family(address):
    return "ip6" if ":" in address else "ip"


def url(address, path="/", port=80):
    return f"http://{url_host(address)}:{port}{path}"


class Setup:
    """A topology with servers on every backend and loomd serving: what most tests start from."""

    def __init__(self, lab, backends=3, one_armed=False, nat="full", services=None, dns_servers=True, topo=None,
                 nginx=None, unbound=None, **ebpf):
        self.lab = lab
        self.topo = topo or Topology(lab, backends, one_armed)
        self.client, self.lb, self.hosts = self.topo.client, self.topo.lb, self.topo.backends
        self.nginx = {host.short: Nginx(host) for host in self.hosts} if nginx is None else nginx
        if unbound is None:
            unbound = {host.short: Unbound(host) for host in self.hosts} if dns_servers else {}
        self.unbound = unbound
        if services is None:
            services = [web(self.hosts, nat)] + ([dns(self.hosts, nat)] if dns_servers else [])
        self.loom = Loom(self.topo, services, **ebpf).start()
        self.settled()

    def settled(self):
        """Returns when every backend's next hop is known."""
        until("next hops of all backends", lambda: all(
            row["next_hop"]["state"] == "resolved" for row in self.loom.api("GET", "/ebpf/backends")["backends"]))

    def reset(self):
        """Back to the configuration, as it was at first."""
        if self.loom.process is None:
            self.loom.start()
        self.loom.write()
        self.loom.api("POST", "/config/reload?reset=true")
        self.settled()


@contextlib.contextmanager
def serving(kind=Setup, **kwargs):
    with Lab() as lab:
        try:
            yield kind(lab, **kwargs)
        except BaseException:
            # A lab that does not come up takes its logs with it.
            sys.stderr.write(lab.logs() + "\n")
            raise
