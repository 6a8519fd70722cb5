"""docs/guides/dsr.md: what it says is done, word by word, and then it works."""
import re
import shlex

import pytest
import yaml

from balancer import BUILD, Setup, serving, url
from decap import Decap
from direct import add_direct_way
from lab import HERE, VIP4, VIP6, Topology
from peers import HTTP_PORT, Nginx, blob, curl, who

GUIDE = HERE.parent.parent / "docs/guides/dsr.md"


def blocks(kind, host):
    return re.findall(rf"^```{kind} {host}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


def lines(host):
    return [line for block in blocks("sh", host) for line in block.splitlines()]


class Guide(Setup):
    """Hosts as they come, no setting made but the guide's."""

    def __init__(self, lab, encap):
        topo = Topology(lab, 2)
        add_direct_way(topo)
        for host in topo.backends:
            host.sysctl("net/ipv4/conf/all/rp_filter", 1)
            for line in lines("backend"):
                if "--show" not in line and (encap != "none" or "loom" not in line):
                    self.do(host, line.replace("eth0", "e0"), f"--pin-path {lab.bpf}/decap-{host.short}")
            # For the way out: the loom decap of the guide.
            Decap(host, "e0", [])
        topo.switch.ip("\n".join(f"link set dev {port} mtu 1600" for port in ("uplink", "p1", "p2", "br0")))
        (block,) = blocks("yaml", "balancer")
        services = yaml.safe_load(block)["services"]
        services[0]["encap"] = encap
        super().__init__(lab, services=services, topo=topo, unbound={},
                         nginx={host.short: Nginx(host) for host in topo.backends})

    def do(self, host, line, more):
        """One line of the guide, as written but for names of this machine."""
        words = shlex.split(line)
        if words[0] == "loom":
            words[0] = str(BUILD / "loom")
            if words[1] == "decap":
                words += more.split()
        return host.run(*words).stdout


@pytest.fixture(scope="module", params=["ipip", "gue", "none"])
def net(request):
    with serving(Guide, encap=request.param) as made:
        yield made


@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])
def test_it_serves(net, vip, tmp_path):
    answers = [who(net.client, vip, HTTP_PORT) for _ in range(30)]
    assert {name for name, _, _ in answers} == {"b1", "b2"}
    assert {address for _, address, _ in answers} == {"10.9.0.2" if vip == VIP4 else "fd09::2"}
    curl(net.client, url(vip, "/blob", HTTP_PORT), "-o", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == blob()


def test_its_commands_on_the_balancer_work(net):
    socket = f"--socket {net.loom.socket}"
    for line in lines("balancer"):
        line = line.replace("/etc/loom/loom.yaml", str(net.loom.file)).replace("eth1", "lb1").replace("eth0", "lb0")
        if line.startswith("loom ") and "doctor" not in line:
            line = line.replace("loom ", f"loom {socket} ", 1)
        net.do(net.lb, line, "")
    shown = net.do(net.hosts[0], "loom decap --show", f"--pin-path {net.lab.bpf}/decap-b1") if net.loom.config[
        "services"][0]["encap"] != "none" else "e0"
    assert "e0" in shown
