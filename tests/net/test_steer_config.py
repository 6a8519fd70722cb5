"""The configuration, the daemon and the namespace change under a group that is steered: by reload, and by restart."""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from lab import run, until
from steering import ADDRESS, PORT, Member, SteerLoom, group, steer_lab


@pytest.fixture(scope="module")
def net():
    with steer_lab() as made:
        yield made


@pytest.fixture
def server(net):
    with net.python("udp") as made:
        yield made


def steered(net, policy="weighted", members=({"any": True},), **more):
    return SteerLoom(net, [group("udp", policy=policy, members=list(members), guard="off", **more)])


def change(loom, how, **more):
    """Another configuration of the group, by a reload or a restart of the daemon."""
    loom.config["steering"]["groups"][0].update(more)
    loom.write()
    if how == "reload":
        loom.api("POST", "/config/reload")
    else:
        loom.stop()
        loom.start()


def killed(loom):
    loom.process.send(signal.SIGKILL)
    loom.process.wait()
    loom.lab.end(loom.process)
    loom.start()


def saved(loom, text):
    until(f"{text} is saved", lambda: text in (loom.state / f"{loom.instance}.steer.json").read_text(encoding="ascii"))


def test_a_drain_keeps_its_deadline_when_the_daemon_is_killed(net, server):
    with steered(net) as loom, net.load("echo", lanes=8) as load:
        loom.settled(4)
        loom.rollout("enforced")
        server.send(1, signal.SIGSTOP)  # its queue is never empty
        load.more(50)
        loom.steer("drain", "g", "slot:1", "--deadline", "3s")
        saved(loom, '"state": 2')
        killed(loom)
        loom.until("it drains on", lambda g: g["members"][1]["state"] == "draining")
        loom.until("drained", lambda g: g["members"][1]["state"] == "drained", timeout=10)
        server.send(1, signal.SIGCONT)


@contextlib.contextmanager
def small_disk(path):
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", path)
    try:
        yield path / "filler"
    finally:
        run("umount", "-l", path)


def fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_that_was_full_has_what_was_decided_meanwhile_when_it_has_room_again(net, server):
    made = steered(net)
    with small_disk(made.state) as filler, made as loom:
        loom.settled(4)
        saved(loom, '"frozen": false')
        fill(filler)
        for _ in range(20):  # more than the audit log's last page holds
            loom.steer("freeze", "g")
            loom.steer("unfreeze", "g")
        loom.steer("freeze", "g")
        age = loom.group()["members"][0]["age_ns"] + 500_000_000
        loom.until("some polls later", lambda g: g["members"][0]["age_ns"] > age)
        loom.process.wait_line("cannot save")
        loom.process.wait_line("cannot write to .*audit")
        filler.unlink()
        until("it is saved", lambda: '"frozen": true' in (loom.state / "s1.steer.json").read_text(encoding="ascii"))
        loom.steer("unfreeze", "g")
        assert loom.api("GET", "/steer/groups/g/audit")["transitions"][-1]["event"] == "unfrozen"


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_group_with_another_name_gets_the_members_and_nothing_of_the_old_one_stays(net, server, how):
    with steered(net) as loom, net.load("echo") as load:
        loom.settled(4)
        loom.rollout("enforced")
        change(loom, how, name="h")
        loom.settled(4, "h")
        assert loom.until("it is attached", lambda g: g["attached"], "h")["state"] == "observe"
        assert os.listdir(loom.pins / f"steer@{loom.instance}") == ["h"]
        loom.rollout("enforced", "h")
        before = loom.group("h")["counters"]["selected"]
        load.more(500)
        assert loom.group("h")["counters"]["selected"] > before
    assert load.failed() == 0, load.complaint()


def test_nothing_is_steered_by_a_daemon_that_has_no_groups(net, server):
    with steered(net) as loom, net.load("echo") as load:
        loom.settled(4)
        loom.rollout("enforced")
        loom.stop()
        groups, loom.config["steering"]["groups"] = loom.config["steering"]["groups"], []
        loom.config["ebpf"]["xdp"] = {"interface": "lo", "mode": "generic"}  # it needs something to do
        loom.write()
        loom.start()
        assert not (loom.pins / f"steer@{loom.instance}").exists()
        loom.config["steering"]["groups"] = groups
        loom.write()
        assert "after a restart" in loom.api("POST", "/config/reload")["changes"][0]
        loom.stop()
        loom.start()
        loom.settled(4)
        loom.until("it is attached", lambda g: g["attached"])
        load.more(200)
    assert load.failed() == 0, load.complaint()


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_group_with_another_port_leaves_the_old_one_alone(net, server, how):
    with net.python("udp", first=10, port=PORT + 1), steered(net) as loom, net.load("echo") as load:
        loom.settled(4)
        loom.rollout("enforced")
        change(loom, how, port=PORT + 1)
        loom.settled(4)
        assert loom.group()["state"] == "observe"
        loom.rollout("enforced")
        load.more(500)
        with net.load("echo", port=PORT + 1, count=500) as other:
            other.finish()
        assert set(other.by_worker()) == {10, 11, 12, 13} and other.failed() == 0, other.complaint()
        counters = loom.group()["counters"]
        assert counters["selected"] == 500 and counters["slot_foreign"] == counters["slot_empty"] == 0
    assert load.failed() == 0, load.complaint()


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_another_policy_is_not_in_force_before_it_is_proven(net, server, how):
    with steered(net) as loom:
        loom.settled(4)
        loom.rollout("enforced")
        change(loom, how, policy="source_hash")
        loom.settled(4)
        found = loom.group()
        assert (found["policy"], found["state"], found["attached"]) == ("source_hash", "shadow", True)
        # The same one again moves nothing.
        loom.rollout("enforced")
        change(loom, how)
        assert loom.group()["state"] == "enforced"


def test_what_operators_set_is_kept_by_a_reload_and_forgotten_by_a_reset(net, server):
    with steered(net) as loom:
        loom.settled(4)
        loom.steer("policy", "g", "random")
        loom.steer("weight", "g", "slot:2", "7")
        loom.rollout("enforced")
        change(loom, "reload", policy="source_hash")
        assert loom.process.wait_line("keeps an operator's policy")
        found = loom.group()
        assert (found["policy"], found["state"], found["members"][2]["weight"]) == ("random", "enforced", 7)
        loom.api("POST", "/config/reload?reset=true")
        found = loom.until("the weight", lambda g: g["members"][2]["weight"] == 100)
        assert (found["policy"], found["state"]) == ("source_hash", "shadow")
        loom.settled(4)


def test_what_an_operator_held_back_is_held_back_by_the_next_daemon(net, server):
    with steered(net, rollout={"automatic": True, "soak": "1s", "target": "enforced"}) as loom:
        loom.until("it goes by itself", lambda g: g["state"] == "canary", timeout=20)
        loom.ask("rollout", state="observe")
        saved(loom, '"point": "observe"')
        killed(loom)
        loom.settled(4)
        with net.load("echo", rate=200, count=600) as load:  # three soak times
            load.finish()
        assert loom.group()["state"] == "observe"


def test_entries_that_a_reload_brings_are_asked_of_those_who_are_there(net, server):
    with steered(net, members=[{"process": "nobody"}]) as loom:
        loom.until("four strangers", lambda g: [row["state"] for row in g["members"]] == ["quarantined"] * 4)
        change(loom, "reload", members=[{"process": os.path.realpath("/usr/bin/python3").rsplit("/", 1)[1], "weight": 7}])
        assert {row["weight"] for row in loom.settled(4)} == {7}
        change(loom, "reload", members=[{"process": "nobody"}])
        loom.until("four strangers again", lambda g: [row["state"] for row in g["members"]] == ["quarantined"] * 4)


@pytest.mark.parametrize("named", ["path", "link", "parent"])
def test_members_are_named_by_their_executable_or_an_ancestor(net, server, named):
    entry = {"path": {"process": os.path.realpath("/usr/bin/python3")}, "link": {"process": "/usr/bin/python3"},
             "parent": {"pid": server.pid}}
    with steered(net, members=[entry[named]]) as loom:
        loom.settled(4)


def test_a_member_that_has_joined_a_group_that_goes_is_plain_and_may_end(net):
    with steered(net, members=[{"join": True}]) as loom:
        member = Member(net, "udp", 1, "g")
        loom.settled(1)
        change(loom, "reload", name="h")
        member.process.wait_line("^state 0")
        assert member.end(5)[-1] == "drained 3"
        # It joins again when there is a group of the name.
        member = Member(net, "udp", 2, "h")
        loom.settled(1, "h")
        change(loom, "reload", name="g")
        member.process.wait_line("^state 0")
        change(loom, "reload", name="h")
        loom.settled(1, "h")
        member.end()


@contextlib.contextmanager
def unit(name):
    """A systemd unit, as far as the kernel knows of it."""
    with open("/proc/mounts", encoding="ascii") as mounts:
        where = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    if not where:
        pytest.skip("no cgroup2 is mounted")
    path = pathlib.Path(where[0]) / name
    path.mkdir()
    try:
        yield path / "cgroup.procs"
    finally:
        until("it is empty", lambda: "populated 0" in (path / "cgroup.events").read_text(encoding="ascii"))
        path.rmdir()


def test_members_are_named_by_their_unit_however_long_that_is(net):
    one, other = (f"docker-{os.getpid():032x}{number:032x}.scope" for number in range(2))
    with unit(one) as procs, unit(other) as others, net.python("udp") as server:
        for number, pid in server.workers.items():
            (procs if number < 2 else others).write_text(str(pid), encoding="ascii")
        with steered(net, members=[{"unit": one}, {"unit": other}]) as loom:
            loom.settled(4)
            loom.rollout("enforced")
            loom.steer("swap", "g", "--from", f"unit:{one}", "--to", f"unit:{other}")
            assert {row["pid"] for row in loom.members()} == {server.workers[2], server.workers[3]}


@contextlib.contextmanager
def bound_in(name):
    program = ("import signal, socket; sock = socket.socket(type=socket.SOCK_DGRAM);"
               "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
               f"sock.bind(('{ADDRESS}', {PORT})); signal.pause()")
    with subprocess.Popen(["ip", "netns", "exec", name, "python3", "-c", program]) as process:
        try:
            yield
        finally:
            process.kill()


def test_a_namespace_that_is_made_anew_is_the_groups_and_the_old_one_ends(net):
    name = f"{net.lab.name}-again"
    run("ip", "netns", "add", name)
    try:
        with steered(net, netns=name) as loom:
            with bound_in(name):
                loom.settled(1)
            until("it is gone", lambda: loom.group()["members"] == [])
            run("ip", "netns", "del", name)
            loom.process.wait_line("has gone")
            run("ip", "netns", "add", name)
            with bound_in(name):
                loom.settled(1)
                # Also if nobody has looked meanwhile.
                run("ip", "netns", "del", name)
                run("ip", "netns", "add", name)
                with bound_in(name):
                    loom.process.wait_line("is another one now", 5, len(loom.process.lines))
                    loom.settled(1)
    finally:
        run("ip", "netns", "del", name)
