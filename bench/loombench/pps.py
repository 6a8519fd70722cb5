"""Packets per second through a balancer on one CPU, and what a second one adds."""
import json
import os

from . import balancers, machine
from .lab import sh

CLIENTS = "10.128.0.0"
BACKENDS = [f"10.2.{i // 250}.{i % 250 + 1}" for i in range(256)]   # one NAT port range each
VIP, VIP_PORT, BACKEND_PORT = "10.0.0.1", 80, 8080
ROUTED = "10.3.0.1"
CONNECTIONS = 1310720   # Loom's table: a million, and a quarter more
MANY = 1 << 20
MEMORY_FOR_MANY_MB = 3000


class Path:
    """Generator, balancer and receiver: three namespaces of their own for every balancer compared, so that
    nothing has to be set up anew between rounds."""
    vip, receive_port = VIP, BACKEND_PORT
    stateful = True

    def __init__(self, lab, tools, name, queues=1):
        self.lab, self.tools, self.name = lab, tools, name
        self.gen, self.lb, self.be = (lab.netns(f"{name}-{role}") for role in ("gen", "lb", "be"))
        lab.veth(self.gen, "gen0", "10.0.0.2/24", self.lb, "lb0", "10.0.0.1/24", queues)
        lab.veth(self.lb, "lb1", "10.1.0.1/24", self.be, "be0", "10.1.0.2/24", queues)
        lab.sysctl(self.lb, "net.ipv4.ip_forward=1")
        self.lb_mac = lab.mac(self.lb, "lb0")
        lab.ip(self.lb, f"neigh replace 10.1.0.2 lladdr {lab.mac(self.be, 'be0')} dev lb1 nud permanent",
               f"neigh replace 10.0.0.2 lladdr {lab.mac(self.gen, 'gen0')} dev lb0 nud permanent",
               "route add 10.2.0.0/16 via 10.1.0.2", "route add 10.3.0.0/16 via 10.1.0.2",
               "route add 10.128.0.0/9 via 10.0.0.2")
        lab.ip(self.be, "route add default via 10.1.0.1")
        self.site = balancers.Site(self.lb, "lb0", "lb1", [
            balancers.Service(proto, VIP, VIP_PORT, BACKENDS, BACKEND_PORT, proto) for proto in ("tcp", "udp")])
        self.set_up()

    def set_up(self):
        pass

    def program(self):
        """What bench-blast has to attach in the balancer's place."""
        return ["--pass", f"{self.lb}:lb0"]

    def blast(self, flows, seconds, cpu, warm_up=0, udp=False, cpus=1):
        args = [str(self.tools / "bench-blast"), "--from", f"{self.gen}:gen0", "--to", f"{self.be}:be0",
                "--next-mac", self.lb_mac, "--vip", self.vip, "--vip-port", str(VIP_PORT),
                "--receive-port", str(self.receive_port), "--client", CLIENTS, "--flows", str(flows),
                "--cpu", str(cpu), "--cpus", str(cpus), "--seconds", str(seconds), "--warm-up", str(warm_up)]
        result = json.loads(sh(*args, *self.program(), *(["--udp"] if udp else []), timeout=120))
        result["mpps"] = result["received"] / result["cpu_seconds"] / 1e6
        result["mpps_clock"] = result["received"] / result["seconds"] / 1e6
        return result


class Forward(Path):
    label = "stateless XDP forward (floor)"
    receive_port = VIP_PORT
    stateful = False

    def program(self):
        return ["--forward", f"{self.lb}:lb0", "--out", f"{self.lb}:lb1"]


class Routing(Path):
    label = "kernel routing, nothing balanced"
    vip, receive_port = ROUTED, VIP_PORT
    stateful = False


class Nftables(Path):
    label = "nftables DNAT + masquerade"

    def set_up(self):
        balancers.nftables(self.lab, self.site)


class Loom(Path):
    label = "Loom, native, full NAT"

    def set_up(self):
        balancers.loom(self.lab, self.site, self.lab.loomd, CONNECTIONS)

    def program(self):
        return []


class LoomIpip(Path):
    label = "Loom, native, IPIP"
    receive_port = VIP_PORT

    def set_up(self):
        balancers.loom(self.lab, self.site, self.lab.loomd, CONNECTIONS, tunnel=True)

    def program(self):
        return []


def two_cpus(lab, tools, rounds, seconds, say, flows=65536):
    """One CPU with a queue of its own, and two, in turn.  Each sends, balances and receives.  By the time of the CPUs
    themselves, so that other programs do not count; what they wait for each other does."""
    if os.cpu_count() < 2:
        say("not measured on two CPUs: this machine has one")
        return []
    kinds = [Forward] + ([Loom, LoomIpip] if lab.loomd else [])
    rows = []
    for kind in kinds:
        path = kind(lab, tools, f"{kind.__name__.lower()}2", queues=2)
        results = {1: [], 2: []}
        path.blast(flows, 0.1, 0, warm_up=flows * 2)
        for index in range(rounds):
            for cpus in (1, 2) if index % 2 == 0 else (2, 1):
                say(f"{path.label}: {cpus} CPUs, round {index + 1} of {rounds}")
                result = path.blast(flows, seconds, 0, warm_up=flows, cpus=cpus)
                result["mpps"] *= cpus   # of all CPUs' time, if they had all of it
                results[cpus].append(result)
        rows.append({"path": path.name, "label": path.label, "flows": flows, "one": results[1], "two": results[2]})
    return rows


def compare(lab, tools, rounds, seconds, say):
    """All paths in turn, round after round; with few flows first, then with a million."""
    kinds = [Forward, Routing, Nftables] + ([Loom] if lab.loomd else [])
    paths = [kind(lab, tools, kind.__name__.lower()) for kind in kinds]
    cpu = min(1, os.cpu_count() - 1)
    rows = []
    for flows in (1024, MANY):
        if flows == MANY and machine.memory_available_mb() < MEMORY_FOR_MANY_MB:
            say(f"not measured with {MANY:,} flows: that takes {MEMORY_FOR_MANY_MB} MB of memory")
            continue
        results = {path.name: [] for path in paths}
        for path in paths:
            if path.stateful:   # twice round: every flow begins, and is found again
                path.blast(flows, 0.1, cpu, warm_up=flows * 2)
        for index in range(rounds):
            for path in paths if index % 2 == 0 else reversed(paths):
                say(f"{flows:,} flows, round {index + 1} of {rounds}: {path.name}")
                # A turn of all flows first: they are as warm as under traffic that does not pause for others.
                results[path.name].append(path.blast(flows, seconds, cpu, warm_up=flows))
        rows += [{"path": path.name, "label": path.label, "flows": flows, "rounds": results[path.name]}
                 for path in paths]
    return rows
