"""Real traffic: short HTTP connections, keepalive requests and bulk TCP through each balancer."""
import json
import os
import time

from . import balancers, machine
from .lab import Failure, sh

CLIENTS = 4
CLIENT_FIRST = "10.0.0.10"
VIP = "10.0.0.1"
BACKENDS = [f"10.1.0.{i}" for i in range(10, 74)]   # each is a range of NAT ports: TIME_WAIT holds many
HTTP_PORT, NGINX_PORT, IPERF_PORT = 80, 8080, 5201
CONNECTIONS = 1 << 20
CONCURRENCY = 64
BODY = "x" * 128


class Site:
    """Client, balancer and servers in namespaces of their own.  prepared: the hosts' ends of the links are as
    XDP forwarding between veth pairs needs them, with a program of their own and checksums in software."""
    prepared = False
    label = ""

    def __init__(self, lab, tools, name):
        self.lab, self.tools, self.name = lab, tools, name
        self.client, self.be = lab.netns(f"{name}-client"), lab.netns(f"{name}-be")
        self.wire()
        lab.sysctl(self.client, "net.ipv4.ip_local_port_range=1024 65535")
        for index in range(CLIENTS):
            lab.ip(self.client, f"addr add 10.0.0.{10 + index}/24 dev c0")
        lab.ip(self.be, *(f"addr add {address}/24 dev b0" for address in BACKENDS))
        if self.prepared:
            for netns, link in ((self.client, "c0"), (self.be, "b0")):
                lab.run(netns, "ethtool", "-K", link, "tx", "off")
                lab.ip(netns, f"link set dev {link} xdpdrv object {tools}/pass.bpf.o section xdp")
        self.start_servers()
        self.set_up()
        self.wait_until_it_works()

    def wire(self):
        """Client - balancer - servers."""
        self.lb = self.lab.netns(f"{self.name}-lb")
        self.lab.veth(self.client, "c0", "10.0.0.2/24", self.lb, "lb0", f"{VIP}/24")
        self.lab.veth(self.lb, "lb1", "10.1.0.1/24", self.be, "b0", "10.1.0.2/24")
        self.lab.ip(self.be, "route add default via 10.1.0.1")
        self.lab.sysctl(self.lb, "net.ipv4.ip_forward=1")
        self.site = balancers.Site(self.lb, "lb0", "lb1", [
            balancers.Service("web", VIP, HTTP_PORT, BACKENDS, NGINX_PORT),
            balancers.Service("bulk", VIP, IPERF_PORT, BACKENDS, IPERF_PORT)])

    def set_up(self):
        raise NotImplementedError

    def target(self, port):
        return VIP, port

    def start_servers(self):
        prefix = self.lab.tmp / f"{self.name}-nginx"
        prefix.mkdir()
        config = prefix / "nginx.conf"
        temp = "".join(f"{kind}_temp_path {prefix}/{kind};\n" for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config.write_text(
            f"daemon off; user root; pid {prefix}/pid; error_log {prefix}/error.log; worker_processes {os.cpu_count()};\n"
            f"worker_rlimit_nofile 65536; events {{ worker_connections 16384; }}\n"
            f"http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 60s;\n{temp}"
            f"server {{ listen {NGINX_PORT} backlog=16384 reuseport; location / {{ return 200 '{BODY}'; }} }} }}\n")
        self.lab.sysctl(self.be, "net.core.somaxconn=16384", "net.ipv4.tcp_max_syn_backlog=16384")
        nginx = self.lab.start(self.be, f"{self.name}-nginx", "nginx", "-p", str(prefix), "-e", f"{prefix}/error.log",
                               "-c", str(config))
        iperf = self.lab.start(self.be, f"{self.name}-iperf3", "iperf3", "-s")
        nginx.wait_for(lambda: balancers.is_listening(self.lab, self.be, "0.0.0.0", NGINX_PORT))
        iperf.wait_for(lambda: balancers.is_listening(self.lab, self.be, "*", IPERF_PORT))

    def wait_until_it_works(self):
        """Neighbours are found and every backend has answered."""
        for _ in range(100):
            if self.hammer(16, 1)["failed"] == 0:
                return
            time.sleep(0.1)
        self.hammer(16, 1, must_succeed=True)

    def hammer(self, requests, per_connection, must_succeed=False):
        address, port = self.target(HTTP_PORT)
        threads = min(2, os.cpu_count())
        result = json.loads(sh(
            "ip", "netns", "exec", self.client, str(self.tools / "bench-hammer"), address, str(port), CLIENT_FIRST,
            str(CLIENTS), str(threads), str(min(CONCURRENCY, requests)), str(requests), str(per_connection),
            timeout=120))
        if must_succeed and result["failed"]:
            raise Failure(f"{self.name}: {result['failed']} of {requests} requests failed")
        return result

    def http(self, requests, per_connection):
        with machine.Meter() as meter:
            result = self.hammer(requests, per_connection)
        result.update(cpu_seconds=meter.own, foreign_cpu_seconds=meter.foreign, per_second=requests / result["seconds"])
        return result

    def bulk(self, seconds):
        address, port = self.target(IPERF_PORT)
        with machine.Meter() as meter:
            report = json.loads(sh("ip", "netns", "exec", self.client, "iperf3", "-c", address, "-p", str(port),
                                   "-t", str(seconds), "-J", timeout=60))
        received = report["end"]["sum_received"]
        return {"gbit_per_second": received["bits_per_second"] / 1e9, "bytes": received["bytes"],
                "cpu_seconds": meter.own, "foreign_cpu_seconds": meter.foreign}


class Direct(Site):
    """No balancer: one link from client to servers."""
    label = "no balancer, hosts as they are"

    def wire(self):
        self.lab.veth(self.client, "c0", "10.0.0.2/16", self.be, "b0", "10.0.1.2/16")
        self.lab.ip(self.client, "route add 10.1.0.0/24 dev c0")
        self.lab.ip(self.be, "route add 10.0.0.0/24 dev b0")

    def set_up(self):
        pass

    def target(self, port):
        return BACKENDS[0], NGINX_PORT if port == HTTP_PORT else port


class DirectPrepared(Direct):
    label = "no balancer, hosts prepared for XDP"
    prepared = True


class Nftables(Site):
    label = "nftables DNAT + masquerade"

    def set_up(self):
        balancers.nftables(self.lab, self.site)


class Haproxy(Site):
    label = "HAProxy, TCP mode"

    def set_up(self):
        balancers.haproxy(self.lab, self.site, os.cpu_count())


class Loom(Site):
    label = "Loom, native, full NAT"
    prepared = True

    def set_up(self):
        balancers.loom(self.lab, self.site, self.lab.loomd, CONNECTIONS)


def compare(lab, tools, rounds, connections, requests, seconds, say):
    """All sites in turn, round after round."""
    kinds = [Direct, DirectPrepared, Nftables, Haproxy] + ([Loom] if lab.loomd else [])
    sites = [kind(lab, tools, kind.__name__.lower()) for kind in kinds]
    results = {site.name: {"short": [], "keepalive": [], "bulk": []} for site in sites}
    for index in range(rounds):
        for site in sites if index % 2 == 0 else reversed(sites):
            say(f"round {index + 1} of {rounds}: {site.name}")
            result = results[site.name]
            result["short"].append(site.http(connections, 1))
            result["keepalive"].append(site.http(requests, 1000))
            result["bulk"].append(site.bulk(seconds))
    return [{"site": site.name, "label": site.label, "prepared": site.prepared, **results[site.name]}
            for site in sites]
