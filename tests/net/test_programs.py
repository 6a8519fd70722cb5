"""Programs of the user's run before the balancer (ebpf.xdp.programs)."""
import shutil
import socket

import pytest

from balancer import serving
from lab import HERE, VIP4, LabError, run
from peers import Load, who

PORTS = {"first": 4444, "second": 4445}


def build(net, name):
    """One object that refuses a port of its own."""
    path = net.lab.dir / f"{name}.o"
    run("clang", "-O2", "-g", "-target", "bpf", f"-DREFUSED_PORT={PORTS[name]}",
        f"-I/usr/include/{__import__('os').uname().machine}-linux-gnu", "-c", HERE / "first.bpf.c", "-o", path)
    return {"name": name, "path": str(path), "section": "xdp_first"}


def refused(net, port):
    """Does a connection from this source port get no answer?"""
    sock = net.client.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.settimeout(0.5)
    try:
        sock.bind(("10.9.0.2", port))
        sock.connect((VIP4, 80))
        return False
    except TimeoutError:
        return True
    finally:
        sock.close()


def use(net, programs, status=None):
    net.loom.config["ebpf"]["xdp"]["programs"] = programs
    net.loom.write()
    return net.loom.api("POST", "/config/reload", status=status)


@pytest.fixture(scope="module")
def net():
    with serving(backends=2) as made:
        yield made


def test_programs_run_in_their_order_before_the_balancer_and_go_again(net):
    with Load(net.client, VIP4, 80) as load:
        load.more(50)
        use(net, [build(net, "first")])
        load.more(50)
        assert refused(net, 4444) and not refused(net, 4445)
        use(net, [build(net, "second"), build(net, "first")])
        load.more(50)
        assert refused(net, 4444) and refused(net, 4445)
        use(net, [])
        load.more(50)
        assert not refused(net, 4444)
    assert load.failures() == []
    assert not list(net.loom.pins.rglob("next_*"))


def test_a_chain_outlives_the_daemon_and_its_changes_of_program(net):
    use(net, [build(net, "first")])
    net.loom.stop(9)
    assert refused(net, 4444) and who(net.client, VIP4, 80)
    net.loom.start()
    assert refused(net, 4444) and who(net.client, VIP4, 80)
    # Another specialisation of the balancer behind the same programs.
    net.loom.config["ebpf"]["xdp"]["icmp"] = {"echo": False}
    with Load(net.client, VIP4, 80) as load:
        load.more(50)
        use(net, [build(net, "first")])
        load.more(50)
    assert load.failures() == [] and refused(net, 4444)
    use(net, [])


@pytest.mark.parametrize("broken, says", [
    ({"path": "/nonexistent.o"}, "cannot open program"),
    ({"section": "xdp_none"}, "has no section xdp_none"),
])
def test_what_cannot_be_loaded_changes_nothing(net, broken, says):
    with Load(net.client, VIP4, 80) as load:
        answer = use(net, [build(net, "first") | broken], status=422)
        assert says in str(answer)
        load.more(20)
    assert load.failures() == [] and not refused(net, 4444)


def test_a_program_without_the_way_on_is_refused(net):
    plain = net.lab.dir / "plain.o"
    shutil.copy(net.lab.compile("xdp_pass"), plain)
    section = run("sh", "-c", f"llvm-objdump -h {plain} | awk '/xdp/ && !/rel|BTF/ {{print $2; exit}}'").stdout.strip()
    answer = use(net, [{"name": "plain", "path": str(plain), "section": section}], status=422)
    assert "loom_next" in str(answer)
