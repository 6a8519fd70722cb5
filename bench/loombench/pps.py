"""Packets per second through a balancer on one CPU."""
import json

CLIENTS = "10.128.0.0"
BACKENDS = 64
CONNTRACK_ROOM = 2


class Path:
    """Generator, balancer and receiver: three namespaces of their own for every balancer compared, so that
    nothing has to be set up anew between rounds."""
    vip, vip_port, receive_port = "10.0.0.1", 80, 8080
    balancer_program = ()

    def __init__(self, lab, tools, name):
        self.lab, self.tools, self.name = lab, tools, name
        self.gen, self.lb, self.be = (lab.netns(f"{name}-{role}") for role in ("gen", "lb", "be"))
        lab.veth(self.gen, "gen0", "10.0.0.2/24", self.lb, "lb0", "10.0.0.1/24")
        lab.veth(self.lb, "lb1", "10.1.0.1/24", self.be, "be0", "10.1.0.2/24")
        lab.sysctl(self.lb, "net.ipv4.ip_forward=1")
        self.lb_mac, self.be_mac = lab.mac(self.lb, "lb0"), lab.mac(self.be, "be0")
        lab.ip(self.lb, "route add 10.2.0.0/24 via 10.1.0.2", "route add 10.3.0.0/24 via 10.1.0.2",
               "route add 10.128.0.0/9 via 10.0.0.2",
               f"neigh replace 10.1.0.2 lladdr {self.be_mac} dev lb1 nud permanent",
               f"neigh replace 10.0.0.2 lladdr {lab.mac(self.gen, 'gen0')} dev lb0 nud permanent")
        lab.ip(self.be, "route add default via 10.1.0.1")
        self.set_up()

    def set_up(self):
        pass

    def blast(self, flows, seconds, warm_up=0, udp=False, cpu=1):
        args = [str(self.tools / "bench-blast"), "--from", f"{self.gen}:gen0", "--to", f"{self.be}:be0",
                "--next-mac", self.lb_mac, "--vip", self.vip, "--vip-port", str(self.vip_port),
                "--receive-port", str(self.receive_port), "--client", CLIENTS, "--flows", str(flows),
                "--cpu", str(cpu), "--seconds", str(seconds), "--warm-up", str(warm_up)]
        args += ["--udp"] if udp else []
        args += self.program()
        from .lab import sh
        return json.loads(sh(*args, timeout=120))

    def program(self):
        return ["--pass", f"{self.lb}:lb0"]


class Forward(Path):
    """A stateless program: other link-layer addresses, and out."""
    receive_port = 80

    def program(self):
        return ["--forward", f"{self.lb}:lb0", "--out", f"{self.lb}:lb1"]


class Routing(Path):
    """The kernel forwards, nothing is balanced."""
    vip, receive_port = "10.3.0.1", 80


class Nftables(Path):
    """DNAT to one of the backends, masqueraded."""

    def set_up(self):
        # The machine's limit holds for a namespace as well; newer kernels have one for each.
        self.lab.run(self.lb, "sysctl", "-qw", f"net.netfilter.nf_conntrack_max={self.lab.conntrack_max}", check=False)
        rows = ", ".join(f"{i} : 10.2.0.{i + 1} . 8080" for i in range(BACKENDS))
        rules = "table ip bench {\n"
        rules += " chain before { type nat hook prerouting priority dstnat;\n"
        for proto in ("tcp", "udp"):
            rules += f"  ip daddr {self.vip} {proto} dport {self.vip_port} dnat ip addr . port to numgen inc mod {BACKENDS} map {{ {rows} }}\n"
        rules += " }\n chain after { type nat hook postrouting priority srcnat;\n  oifname lb1 masquerade\n }\n}\n"
        self.lab.run(self.lb, "nft", "-f", "-", stdin=rules)
