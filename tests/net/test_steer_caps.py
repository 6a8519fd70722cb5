"""The whole of steering as an ordinary user with few capabilities, and what is said of each that is missing."""
import contextlib
import os
import shutil

import pytest

from balancer import BUILD
from lab import HERE, until
from steering import PORT, RELEASE, SteerLoom, group, reads_group, steer_lab

NOBODY = 65534


def as_nobody(*capabilities):
    caps = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", f"--inh-caps={caps}",
            f"--ambient-caps={caps}", f"--bounding-set={caps}"]


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        os.chmod(made.lab.dir, 0o755)
        for name in ("loomd", "loom"):
            shutil.copy(BUILD / name, made.lab.dir / name)
        shutil.copy(HERE / "steer_server.py", made.lab.dir)
        (made.lab.bpf / "loom").mkdir(mode=0o755)
        yield made


class Unprivileged(SteerLoom):
    """loomd as nobody, with these capabilities."""

    def __init__(self, net, capabilities, *groups):
        super().__init__(net, list(groups), prefix=as_nobody(*capabilities))
        where = net.lab.dir / "nobody"
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir()
        os.chown(where, NOBODY, NOBODY)
        os.chown(self.pins, NOBODY, NOBODY)
        self.socket, self.join = where / "admin.sock", where / "join.sock"
        self.config |= {"state_dir": str(where / "state"), "admin": {"socket": str(self.socket)}}
        self.config["steering"]["join"]["socket"] = str(self.join)
        self.write()
        os.chmod(self.file, 0o644)
        self.argv = [*self.prefix, net.lab.dir / "loomd", "run", "-c", self.file]

    def start(self):
        self.process = self.net.host.spawn("loomd", *self.argv)
        self.process.wait_line(r"\bready\b")
        return self

    def refused(self):
        """What loomd says, that does not start."""
        done = self.net.host.run(*self.argv, check=False)
        assert done.returncode == 1
        return done.stderr


@contextlib.contextmanager
def running(net, capabilities, *groups):
    loom = Unprivileged(net, capabilities, *groups)
    loom.start()
    try:
        yield loom
    finally:
        loom.stop()
        loom.detach()


@contextlib.contextmanager
def server(net, protocol="udp", own=True):
    """Two workers: of the same user as loomd (own), or root's."""
    prefix = as_nobody() if own else []
    process = net.host.spawn("server", *prefix, "/usr/bin/python3", net.lab.dir / "steer_server.py", protocol,
                             "127.0.0.1", PORT, "--workers", 2)
    process.wait_line("^ready")
    try:
        yield
    finally:
        net.lab.end(process)
        until("no sockets", lambda: net.sockets(PORT, protocol == "udp") == 0)


def possible(loom, kind, name):
    return loom.api("GET", "/steer/capabilities")["capabilities"][kind][name]


def selected(loom):
    return loom.group()["counters"]["selected"]


# Before, the verifier follows what a processor only speculates about, and refuses it without CAP_PERFMON.
trusted = pytest.mark.skipif(RELEASE < (6, 17), reason="needs a verifier that takes programs of CAP_BPF alone (Linux 6.17)")


@trusted
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_cap_bpf_alone_steers_the_sockets_of_the_same_user(net, protocol):
    with server(net, protocol), running(net, ["bpf"], group(protocol, policy="weighted")) as loom:
        loom.settled(2)
        with net.load("echo" if protocol == "udp" else "line") as load:
            for state in ("shadow", "canary", "enforced", "fallback"):
                if state == "fallback":
                    loom.ask("fallback")
                else:
                    loom.rollout(state)
                load.more(300)
        assert load.failed() == 0, load.complaint()
        assert selected(loom) > 100
        found = loom.group()
        assert not found["exact"] and found["fallback"]


@trusted
def test_without_cap_perfmon_least_loaded_is_refused_by_name_and_the_rest_is_possible(net):
    with server(net), running(net, ["bpf"], group(policy="weighted")) as loom:
        loom.settled(2)
        loom.rollout("enforced")
        answer = loom.raw("POST", "/steer/groups/g/policy", '{"name": "least_loaded"}')
        assert answer[0] >= 400 and "CAP_PERFMON" in str(answer), answer
        assert possible(loom, "policies", "least_loaded")["missing"].startswith("CAP_PERFMON")
        for name in ("weighted", "wireguard", "quic", "generation", "source_hash", "cpu_local", "random", "bytes", "hash"):
            found = possible(loom, "policies", name)
            assert found["possible"] and found["probed"], (name, found)
        assert loom.group()["policy"] == "weighted"


@trusted
def test_a_configured_policy_that_is_not_possible_is_held_back_and_says_why(net):
    with server(net), running(net, ["bpf"], group(policy="least_loaded")) as loom:
        loom.settled(2)
        loom.rollout("shadow")
        assert "CAP_PERFMON" in loom.group()["held_back"]
        done = loom.steer("rollout", "g", "enforced", "--force", check=False)
        assert done.returncode != 0 and "CAP_PERFMON" in done.stderr, done.stderr
        assert loom.group()["state"] == "shadow"


@pytest.mark.skipif(RELEASE >= (6, 17), reason="needs a kernel before Linux 6.17")
def test_an_older_kernel_takes_cap_perfmon_and_plain_linux_serves_meanwhile(net):
    with server(net), running(net, ["bpf"], group(policy="weighted")) as loom:
        found = loom.until("a reason", lambda one: one["held_back"])
        assert "CAP_PERFMON (or Linux 6.17)" in found["held_back"]
        done = loom.steer("rollout", "g", "enforced", "--force", check=False)
        assert done.returncode != 0 and "CAP_PERFMON" in done.stderr, done.stderr
        with net.load("echo") as load:
            load.more(300)
        assert load.failed() == 0, load.complaint()
    with server(net), running(net, ["bpf", "perfmon"], group(policy="weighted")) as loom:
        loom.settled(2)
        loom.rollout("enforced")
        with net.load("echo") as load:
            load.more(300)
        assert load.failed() == 0 and selected(loom) > 100


@reads_group
def test_cap_perfmon_makes_it_exact(net):
    with server(net), running(net, ["bpf", "perfmon"], group(policy="least_loaded")) as loom:
        loom.settled(2)
        loom.rollout("enforced")
        with net.load("echo") as load:
            load.more(300)
        assert load.failed() == 0 and selected(loom) > 100
        assert loom.group()["exact"]


def test_another_users_sockets_take_cap_sys_ptrace(net):
    with server(net, own=False):
        with running(net, ["bpf", "perfmon"], group()) as loom:
            found = loom.until("a reason", lambda one: one["held_back"])
            assert "cap_sys_ptrace" in found["held_back"]
            assert not loom.members()
        with running(net, ["bpf", "perfmon", "sys_ptrace"], group(policy="weighted")) as loom:
            loom.settled(2)
            loom.rollout("enforced")
            with net.load("echo") as load:
                load.more(300)
            assert load.failed() == 0 and selected(loom) > 100


def test_a_sockmap_takes_cap_net_admin(net):
    with running(net, ["bpf", "perfmon"], group()) as loom:
        assert possible(loom, "features", "sockmap")["missing"] == "CAP_NET_ADMIN"
    with running(net, ["bpf", "perfmon", "net_admin"], group()) as loom:
        assert possible(loom, "features", "sockmap")["possible"]


def test_nothing_goes_without_cap_bpf(net):
    said = Unprivileged(net, ["perfmon", "net_admin"], group()).refused()
    assert "cap_bpf" in said, said


def test_another_namespace_takes_cap_sys_admin(net):
    other = net.lab.namespace("apart")
    elsewhere = group(netns=f"/run/netns/{other.name}")
    said = Unprivileged(net, ["bpf", "perfmon"], elsewhere).refused()
    assert "cap_sys_admin" in said, said
