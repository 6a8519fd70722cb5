"""Direct server return: backends that have the services' addresses, unwrap, and answer clients another way.

         client c0 --- lb0 lb lb1 --- br0 --- e0 b1, b2, ...   what clients send, wrapped or with new MAC addresses
         client d0 ------------------ br1 --- e1 b1, b2, ...   the answers

The modes stand side by side, each on addresses of its own (VIPS), so that one lab serves them all.
"""
from balancer import Setup, backends
from decap import Decap
from lab import Topology
from peers import DNS_PORT, HTTP_PORT, Nginx, Unbound

VIPS = {"ipip": ("10.0.0.1", "fd00::1"), "gue": ("10.0.0.2", "fd00::2"), "none": ("10.0.0.3", "fd00::3"),
        "4in6": ("10.0.0.4",)}
ALL_VIPS = [vip for vips in VIPS.values() for vip in vips]
# (mode, address): a test for each.
EACH = [(mode, vip) for mode, vips in VIPS.items() for vip in vips]
ROOMY = 1600  # carries what the tunnels add to 1500


def each_id(value):
    return value.replace(":", "").replace(".", "") if isinstance(value, str) else None


def add_direct_way(topo):
    """The second switch: from the backends straight to the client."""
    topo.switch.ip("link add br1 type bridge mcast_snooping 0 forward_delay 0\nlink set br1 up")
    topo.lab.pair(topo.client, "d0", topo.switch, "pd0")
    topo.switch.ip("link set dev pd0 master br1")
    topo.client.run("ethtool", "-K", "d0", "tx", "off", "gro", "off")
    topo.client.ip("addr add 10.8.0.2/24 dev d0\naddr add fd08::2/64 dev d0 nodad")
    for which in ("all", "c0", "d0"):
        topo.client.sysctl(f"net/ipv4/conf/{which}/rp_filter", 0)
    for number, host in enumerate(topo.backends, 1):
        topo.lab.pair(host, "e1", topo.switch, f"q{number}")
        topo.switch.ip(f"link set dev q{number} master br1")
        host.run("ethtool", "-K", "e1", "tx", "off", "gro", "off")
        host.ip(f"addr add 10.8.0.1{number}/24 dev e1\naddr add fd08::1{number}/64 dev e1 nodad\n"
                "route add 10.9.0.0/24 via 10.8.0.2\nroute add fd09::/64 via fd08::2")


def own_addresses(host, vips):
    """What a backend needs to serve addresses that are not its own: docs/guides/dsr.md."""
    for key, value in (("rp_filter", 0), ("arp_ignore", 1), ("arp_announce", 2)):
        for which in ("all", "e0"):
            host.sysctl(f"net/ipv4/conf/{which}/{key}", value)
    host.ip("\n".join(f"addr add {vip}/{128 if ':' in vip else 32} dev lo" for vip in vips))


def set_mtu(topo, mtu):
    """Of everything between the balancer and the backends."""
    topo.lb.ip(f"link set dev {topo.interfaces[-1]} mtu {mtu}")
    ports = ["uplink", *(f"p{number}" for number in range(1, len(topo.backends) + 1)), "br0"]
    topo.switch.ip("\n".join(f"link set dev {port} mtu {mtu}" for port in ports))
    for host in topo.backends:
        host.ip(f"link set dev e0 mtu {mtu}")


def service(name, hosts, mode, port, protocol="tcp", **more):
    """A DSR service of one mode: the port is the same on both sides."""
    families = (6,) if mode == "4in6" else (4, 6)
    return {"name": f"{name}-{mode}", "addresses": list(VIPS[mode]), "protocol": protocol, "ports": [port],
            "mode": "dsr", "encap": "ipip" if mode == "4in6" else mode,
            "backends": backends(hosts, port, families), **more}


def services(hosts, modes=tuple(VIPS), **more):
    return [row for mode in modes for row in (service("web", hosts, mode, HTTP_PORT, **more),
                                              service("dns", hosts, mode, DNS_PORT, "udp", **more))]


class DirectSetup(Setup):
    """The network above with servers on every backend, loom decap on each, and loomd serving every mode."""

    def __init__(self, lab, count=3, mtu=ROOMY, rows=None, dns_servers=True, **ebpf):
        topo = Topology(lab, count)
        add_direct_way(topo)
        set_mtu(topo, mtu)
        for host in topo.backends:
            own_addresses(host, ALL_VIPS)
        unbound = {host.short: Unbound(host, extra=ALL_VIPS) for host in topo.backends} if dns_servers else {}
        nginx = {host.short: Nginx(host) for host in topo.backends}
        self.decap = {host.short: Decap(host, "e0", ALL_VIPS).start() for host in topo.backends}
        super().__init__(lab, services=services(topo.backends) if rows is None else rows(topo.backends), topo=topo,
                         nginx=nginx, unbound=unbound, **ebpf)
