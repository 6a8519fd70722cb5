"""cpu_affinity: packets of an interface with one queue are balanced on the CPUs that are named."""
import collections
import contextlib
import hashlib
import os
import signal

import pytest

from balancer import BUILD, backends, serving, url
from lab import VIP4, VIP6, family_of
from peers import Load, UdpEcho, blob, ping, who

CPUS = sorted(os.sched_getaffinity(0))[:2]
NO_CPU = 4000
ECHO_PORT = 7001

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")


@pytest.fixture(scope="module", params=["two arms", "one arm", "generic"])
def net(request):
    """With one arm the packets leave by the interface they came by, which a CPU map cannot as XDP can."""
    one_armed = request.param == "one arm"
    xdp = {"interface": ["lb0"] if one_armed else ["lb0", "lb1"],
           "mode": "generic" if request.param == "generic" else "native"}
    with serving(dns_servers=False, one_armed=one_armed, maps={"backends": {"max_entries": 20}}, xdp=xdp) as made:
        host = made.hosts[0]
        for address in (host.address4, host.address6):
            UdpEcho(host, address, ECHO_PORT)
        made.loom.config["services"].append({
            "name": "echo", "addresses": [VIP4, VIP6], "protocol": "udp", "ports": [ECHO_PORT],
            "backends": backends([host], ECHO_PORT)})
        made.reset()
        yield made


@pytest.fixture(autouse=True)
def all_cpus(net):
    yield
    net.loom.config["ebpf"]["xdp"].pop("cpu_affinity", None)
    net.loom.write()
    net.reset()


def use(net, cpus):
    net.loom.config["ebpf"]["xdp"]["cpu_affinity"] = cpus
    net.loom.write()
    net.loom.api("POST", "/config/reload")


def sent(net):
    """Packets sent to backends so far, by CPU."""
    by_cpu = collections.Counter()
    for row in net.loom.map_dump("lb_backend_counts"):
        by_cpu.update({v["cpu"]: v["value"]["to_packets"] for v in row["formatted"]["values"] if v["value"]["to_packets"]})
    return by_cpu


@contextlib.contextmanager
def counted(net):
    """What was sent meanwhile, by CPU; CPUs without are not there."""
    found = {}
    before = sent(net)
    yield found
    found.update(sent(net) - before)


@pytest.mark.parametrize("address", [VIP4, VIP6])
@pytest.mark.parametrize("cpu", CPUS)
def test_all_packets_go_to_the_only_cpu_named(net, cpu, address):
    use(net, [cpu])
    with counted(net) as packets:
        for _ in range(20):
            who(net.client, address, 80)
    assert list(packets) == [cpu]


@pytest.mark.parametrize("address", [VIP4, VIP6])
def test_many_flows_are_spread_over_the_cpus(net, address):
    use(net, CPUS)
    with counted(net) as packets:
        for _ in range(100):
            who(net.client, address, 80)
    assert sorted(packets) == CPUS
    assert min(packets.values()) > sum(packets.values()) / 4, packets


@pytest.mark.parametrize("address", [VIP4, VIP6])
def test_a_flow_stays_on_one_cpu(net, address):
    use(net, CPUS)
    used = set()
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            sock = stack.enter_context(net.client.datagram(family=family_of(address)))
            # UDP: each answer says that its question was counted, and nothing comes later.
            with counted(net) as packets:
                for _ in range(20):
                    sock.sendto(b"x", (address, ECHO_PORT))
                    assert sock.recv(100).endswith(b" x")
            assert list(packets.values()) == [20], packets
            used |= set(packets)
    assert used == set(CPUS)


@pytest.mark.parametrize("address", [VIP4, VIP6])
def test_fragments_go_by_their_addresses_alone(net, address):
    use(net, CPUS)
    data = b"x" * 4000
    with counted(net) as packets:
        for _ in range(16):
            with net.client.datagram(family=family_of(address)) as sock:
                sock.sendto(data, (address, ECHO_PORT))
                assert sock.recv(8000).endswith(data)
    assert list(packets.values()) == [16 * 3], packets


@pytest.mark.parametrize("address", [VIP4, VIP6])
def test_bodies_arrive_whole(net, address):
    use(net, CPUS)
    done = net.client.run("sh", "-c", f"curl -sS --fail --max-time 20 -g {url(address, '/blob')} | sha256sum")
    assert done.stdout.split()[0] == hashlib.sha256(blob()).hexdigest()


def test_what_is_not_ours_reaches_the_stack(net):
    use(net, CPUS)
    net.client.ip("neigh flush dev c0")  # ARP goes the same way
    ping(net.client, "10.9.0.1", 1000)


def test_a_reload_with_other_cpus_loses_nothing(net):
    lists = [CPUS, [CPUS[1]], "all", [CPUS[0]], CPUS]
    with Load(net.client, VIP4, 80) as load:
        for cpus in lists:
            load.more(100)
            use(net, cpus)
        load.more(100)
    assert load.failures() == []


def test_a_restarted_daemon_goes_on_spreading(net):
    use(net, [CPUS[1]])
    net.loom.stop(signal.SIGKILL)
    who(net.client, VIP4, 80)
    with Load(net.client, VIP4, 80) as load:
        net.loom.start()
        load.more(100)
        with counted(net) as packets:
            load.more(100)
    assert load.failures() == []
    assert list(packets) == [CPUS[1]]


def test_a_cpu_that_is_not_there_is_refused_and_changes_nothing(net):
    use(net, [CPUS[0]])
    net.loom.config["ebpf"]["xdp"]["cpu_affinity"] = [CPUS[0], NO_CPU]
    net.loom.write()
    answer = net.loom.api("POST", "/config/reload", status=422)
    assert f"cannot use CPU {NO_CPU}: it is not online" in answer["error"]["message"]
    assert "ebpf.xdp.cpu_affinity" in answer["error"]["message"]
    assert not any("cannot return" in line for line in net.loom.process.lines)
    with counted(net) as packets:
        who(net.client, VIP4, 80)
    assert list(packets) == [CPUS[0]]


def test_a_daemon_does_not_start_with_a_cpu_that_is_not_there(net):
    net.loom.stop(signal.SIGINT)
    net.loom.config["ebpf"]["xdp"]["cpu_affinity"] = [NO_CPU]
    net.loom.write()
    done = net.lb.run(BUILD / "loomd", "run", "-c", net.loom.file, check=False)
    assert done.returncode != 0
    assert f"cannot use CPU {NO_CPU}: it is not online" in done.stderr
