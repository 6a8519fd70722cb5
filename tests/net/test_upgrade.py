"""A newer loomd goes on in the place of the older one, in the same process: no packet and no connection is lost."""
import os
import pathlib
import shutil
import subprocess

import pytest

import balancer
from balancer import Setup
from lab import VIP4, VIP6, Lab, run, until
from peers import Load, blob

OLD_COMMIT = "cb4aaea"  # the last one of layout version 1


def place(binary, where):
    """Puts binary at path where, as a package manager does: the running file is replaced, not changed."""
    fresh = where.with_suffix(".new")
    shutil.copy2(binary, fresh)
    os.rename(fresh, where)


@pytest.fixture
def net(monkeypatch):
    """loomd is started from a file that can be replaced."""
    with Lab() as lab:
        own = lab.dir / "usr"
        own.mkdir()
        for name in ("loomd", "loom"):
            place(balancer.BUILD / name, own / name)
        built = balancer.BUILD
        monkeypatch.setattr(balancer, "BUILD", own)
        made = Setup(lab, backends=2)
        made.built = built
        yield made


def upgrade(net, check=True):
    return net.lb.run(balancer.BUILD / "loomd", "upgrade", "-c", net.loom.file, check=check)


def test_an_upgrade_under_load_loses_nothing(net):
    pid = net.loom.process.pid
    with Load(net.client, VIP4, 80) as load, Load(net.client, VIP6, 53, "dns", 4, 200) as queries, \
            net.client.connect(VIP4, 80) as sock:
        for _ in range(3):
            load.more(100)
            place(net.built / "loomd", balancer.BUILD / "loomd")
            assert f"process {pid} goes on as loomd" in upgrade(net).stdout
            load.more(100)
            queries.more(20)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
            assert b" 200 " in sock.recv(4096)
    assert load.failures() == [] and queries.failures() == []
    assert net.loom.process.pid == pid and net.loom.process.alive()
    # It runs the file that stands there now, and serves.
    assert os.path.samefile(f"/proc/{pid}/exe", balancer.BUILD / "loomd")
    assert net.loom.api("GET", "/ebpf/stats")["connections"]["total"] > 0


def test_changes_made_by_the_api_survive_an_upgrade(net):
    ident = net.loom.backend(net.hosts[0])["id"]
    net.loom.api("PATCH", f"/ebpf/backends/{ident}", {"weight": 7})
    upgrade(net)
    assert net.loom.backend(net.hosts[0])["weight"] == 7


def test_an_upgrade_with_a_broken_configuration_changes_nothing(net):
    pid = net.loom.process.pid
    before = os.stat(f"/proc/{pid}/exe").st_ino
    place(net.built / "loomd", balancer.BUILD / "loomd")
    net.loom.write("services: [{name: x, addresses: [not-an-address]}]")
    failed = upgrade(net, check=False)
    assert failed.returncode == 1 and "not-an-address" in failed.stderr
    assert os.stat(f"/proc/{pid}/exe").st_ino == before
    assert net.loom.api("GET", "/ebpf/backends")["backends"]


def test_an_upgrade_by_another_path_is_refused(net):
    other = net.lab.dir / "other-loomd"
    place(net.built / "loomd", other)
    failed = net.lb.run(other, "upgrade", "-c", net.loom.file, check=False)
    assert failed.returncode == 1 and "put the new loomd there" in failed.stderr


def test_without_a_daemon_there_is_nothing_to_upgrade(net):
    net.loom.stop()
    failed = upgrade(net, check=False)
    assert failed.returncode == 1 and "no loomd serves here" in failed.stderr


def build_old(directory):
    """loomd of layout version 1, from this repository's history."""
    root = pathlib.Path(__file__).resolve().parent.parent.parent
    archive = subprocess.run(["git", "-C", root, "archive", OLD_COMMIT], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"the history has no {OLD_COMMIT} here: a shallow clone")
    directory.mkdir()
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    run("meson", "setup", "-Dtests=false", directory / "build", directory, check=False)
    if not (directory / "build/build.ninja").exists():
        run("meson", "setup", directory / "build", directory)
    run("ninja", "-C", directory / "build", "loomd", "loom", timeout=300)
    return directory / "build"


@pytest.mark.slow
def test_connections_of_layout_version_1_are_brought_over(monkeypatch):
    with Lab() as lab:
        old = build_old(lab.dir / "old")
        built, own = balancer.BUILD, lab.dir / "usr"
        own.mkdir()
        for name in ("loomd", "loom"):
            place(old / name, own / name)
        monkeypatch.setattr(balancer, "BUILD", own)
        net = Setup(lab, backends=2)
        download = net.client.spawn("curl", "curl", "-sS", "--fail", "--limit-rate", "200k", "-o", lab.dir / "slow",
                                    f"http://{VIP4}/blob")
        with net.client.connect(VIP4, 80) as sock, net.client.connect(VIP6, 80) as sock6, \
                Load(net.client, VIP4, 80) as load:
            for one in (sock, sock6):
                one.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
                assert b" 200 " in one.recv(4096)
            load.more(200)
            total = net.loom.api("GET", "/ebpf/stats")["connections"]["total"]
            # The old one knows no upgrade: it stops, the data path stays, the new one takes over.
            net.loom.stop()
            for name in ("loomd", "loom"):
                place(built / name, own / name)
            net.loom.start()
            load.more(200)
            for one in (sock, sock6):
                one.sendall(b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n")
                assert b" 200 " in one.recv(4096)
            stats = net.loom.api("GET", "/ebpf/stats")
            assert stats["connections"]["total"] >= total
            port = sock.getsockname()[1]
            assert [row["state"] for row in net.loom.connections(client="10.9.0.2")
                    if row["client"].endswith(f":{port}")] == ["established"]
        assert load.failures() == []
        assert download.wait(30) == 0
        assert (lab.dir / "slow").read_bytes() == blob()
        assert until("old pins gone", lambda: not list(net.loom.pins.rglob("*~")))
