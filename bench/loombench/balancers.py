"""How each balancer is set up in its namespace.  A Service is what all of them are asked to do."""
import json
from dataclasses import dataclass, field


@dataclass
class Service:
    name: str
    vip: str
    port: int
    backends: list            # addresses
    backend_port: int
    proto: str = "tcp"


@dataclass
class Site:
    """Where a balancer works: its namespace, its two interfaces, what it serves."""
    netns: str
    client_side: str
    backend_side: str
    services: list = field(default_factory=list)


def nftables(lab, site):
    """DNAT to the backends in turn, masqueraded, with connection tracking."""
    # The machine's limit holds in every namespace; newer kernels have one for each besides.
    lab.run(site.netns, "sysctl", "-qw", f"net.netfilter.nf_conntrack_max={CONNTRACK_MAX}", check=False)
    rules = ["table ip bench {", "chain before { type nat hook prerouting priority dstnat;"]
    for service in site.services:
        count = len(service.backends)
        rows = ", ".join(f"{i} : {address} . {service.backend_port}" for i, address in enumerate(service.backends))
        rules.append(f"ip daddr {service.vip} {service.proto} dport {service.port} "
                     f"dnat ip addr . port to numgen inc mod {count} map {{ {rows} }}")
    rules += ["}", "chain after { type nat hook postrouting priority srcnat;",
              f"oifname {site.backend_side} masquerade", "}", "}"]
    lab.run(site.netns, "nft", "-f", "-", stdin="\n".join(rules) + "\n")


CONNTRACK_MAX = 2 << 20
CONNTRACK_BUCKETS = 1 << 20


def size_conntrack(lab):
    """Machine-wide: room for two million entries, one a bucket for a million; undone at the end."""
    lab.set_global("/proc/sys/net/netfilter/nf_conntrack_max", CONNTRACK_MAX)
    lab.set_global("/proc/sys/net/netfilter/nf_conntrack_buckets", CONNTRACK_BUCKETS)


def haproxy(lab, site, threads):
    """TCP mode, round robin, one thread a CPU."""
    lines = ["global", f"    nbthread {threads}", "    maxconn 8000", "defaults", "    mode tcp",
             "    timeout connect 5s", "    timeout client 30s", "    timeout server 30s"]
    for service in site.services:
        lines += [f"listen {service.name}", f"    bind {service.vip}:{service.port}", "    balance roundrobin"]
        lines += [f"    server s{i} {address}:{service.backend_port}" for i, address in enumerate(service.backends)]
    path = lab.tmp / f"{site.netns}-haproxy.cfg"
    path.write_text("\n".join(lines) + "\n")
    lab.sysctl(site.netns, "net.ipv4.ip_local_port_range=1024 65535")
    process = lab.start(site.netns, f"{site.netns}-haproxy", "haproxy", "-db", "-f", str(path))
    first = site.services[0]
    return process.wait_for(lambda: is_listening(lab, site.netns, first.vip, first.port))


def is_listening(lab, netns, address, port):
    return f"{address}:{port} " in lab.run(netns, "ss", "-Hltn")


def loom(lab, site, loomd, connections, tunnel=False):
    """Loom in native mode, full NAT, or IPIP to where backends answer themselves."""
    name = site.netns
    config = {
        "instance": "bench", "state_dir": str(lab.tmp / f"{name}-state"),
        "admin": {"listen": "127.0.0.1:9091", "socket": "off"},
        "ebpf": {
            "pin_path": str(lab.bpffs(name) / "loom"),
            "xdp": {"interface": [site.client_side, site.backend_side], "mode": "native"},
            "conntrack": {"max_entries": connections},
        },
        "services": [{"name": s.name, "addresses": [s.vip], "protocol": s.proto, "ports": [s.port],
                      **({"mode": "dsr", "encap": "ipip"} if tunnel else {"nat": "full"}),
                      "backends": [{"address": address} if tunnel else {"address": address, "port": s.backend_port}
                                   for address in s.backends]}
                     for s in site.services],
    }
    (lab.tmp / f"{name}-state").mkdir()
    path = lab.tmp / f"{name}-loom.yaml"
    path.write_text(json.dumps(config, indent=1) + "\n")   # YAML is a superset
    process = lab.start(name, f"{name}-loomd", str(loomd), "run", "-c", str(path))
    return process.wait_for(lambda: "ready" in process.output())


def find_loomd(place):
    """place: the program or the build directory.  None if it was not built."""
    for path in (place, place / "loomd", place / "src/loomd/loomd"):
        if path.is_file():
            return path.resolve()
    return None
