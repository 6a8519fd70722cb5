"""Thousands of malformed requests and configurations: an error each, and the data path as it was."""
import concurrent.futures
import json
import random
import re
import socket

import pytest

from balancer import serving
from lab import VIP4
from peers import Load

FIXED_MAPS = ["lb_services", "lb_control", "lb_sources", "lb_reals", "lb_ports"]

# Wrong to begin with, in a way that no small mutation cures: ids that nobody has, a service that is not there.
REQUESTS = [
    ("GET", "/ebpf/backends/987654321", ""),
    ("GET", "/ebpf/connections?limit=99999&cursor=zzzz&client=1.2.3.4.5", ""),
    ("DELETE", "/ebpf/backends/987654321?deadline=30s&force=true", ""),
    ("DELETE", "/ebpf/backends/notanumber", ""),
    ("PATCH", "/ebpf/backends/987654321", '{"weight": 50, "state": "draining"}'),
    ("POST", "/ebpf/backends", '{"address": "10.1.0.999", "port": 808080, "weight": -1, "service": "nowhere"}'),
    ("POST", "/ebpf/backends", '{"service": "nowhere", "address": {"a": [1, 2, {"b": null}]}, "port": "eighty"}'),
    ("PUT", "/ebpf/backends", '[1, 2, 3]'),
    ("POST", "/config/reload?reset=perhaps", ""),
    ("POST", "/no/such/route", "{" * 200),
]
WORDS = ["%00", "%ff%fe", "../../", "\0", "\r\n", "\r\n\r\n", "{", "}", "[", '"', "\\u0000", "\xff", "-1", "1e999",
         "18446744073709551616", "A" * 300, "?&=&", "null", "true", "Content-Length: -5", "Transfer-Encoding: chunked"]


def mutate(chance, data):
    """A few edits: bytes flipped, cut out, doubled, or a nasty word put in."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at:at + chance.randrange(1, 12)]
        elif kind == 2:
            data[at:at] = data[at:at + chance.randrange(1, 40)]
        else:
            data[at:at] = chance.choice(WORDS).encode("latin-1")
    return bytes(data)


def request_bytes(chance):
    """One request; its body or the whole of it mutated, or not at all.  And is it whole?"""
    method, target, body = chance.choice(REQUESTS)
    target, body = target.encode(), body.encode()
    what = chance.randrange(4)
    if what == 1 and body:
        body = mutate(chance, body)
    promised = len(body) if chance.randrange(10) else chance.randrange(1 << 17)
    head = b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (
        method.encode(), target, promised)
    whole = head + body
    if what >= 2:
        return mutate(chance, whole), False
    return whole, promised <= len(body)


def send_raw(path, data, patience):
    """The status of the answer; 0 if the daemon just closed, or waits for more longer than we do."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(patience)
        sock.connect(str(path))
        answer = b""
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            pass
        except TimeoutError:
            assert patience < 1, f"no answer and no end to {data!r}"
    match = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    assert match or not answer, answer[:100]
    status = int(match[1]) if match else 0
    body = answer.partition(b"\r\n\r\n")[2]
    if status >= 400 and body.startswith(b"{"):
        # A mutation may have made two requests of one: the first answer is looked at.
        error = json.JSONDecoder().raw_decode(body.decode())[0]["error"]
        assert error["code"] and error["message"]
    return status


def state(net):
    """All that malformed input must not change."""
    rows = [{key: row[key] for key in ("id", "address", "port", "weight", "state", "service")}
            for row in net.loom.api("GET", "/ebpf/backends")["backends"]]
    return rows, net.loom.api("GET", "/services"), {name: net.loom.map_dump(name) for name in FIXED_MAPS}


@pytest.fixture(scope="module")
def net():
    with serving(backends=2) as made:
        yield made


def test_ten_thousand_malformed_requests_change_nothing(net):
    chance = random.Random(7)
    before, pid = state(net), net.loom.process.pid
    statuses = {}
    with Load(net.client, VIP4, 80, rate=200) as load:
        requests = [request_bytes(chance) for _ in range(10_000)]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = pool.map(lambda request: send_raw(net.loom.socket, request[0], 10 if request[1] else 0.05),
                               requests)
            for status, request in zip(answers, requests):
                statuses[status] = statuses.get(status, 0) + 1
                assert status == 0 or status >= 400, (status, request)
                assert status or not request[1], request
    assert load.failures() == []
    assert net.loom.process.alive() and net.loom.process.pid == pid
    assert state(net) == before
    # Most were understood well enough to be told what is wrong.
    assert statuses.get(0, 0) < 5000 and len(statuses) >= 4, statuses


def malformed_configurations(net, count):
    chance = random.Random(11)
    good = json.dumps(net.loom.config, indent=1).encode()
    before = state(net)
    try:
        with Load(net.client, VIP4, 80, rate=200) as load:
            for _ in range(count):
                text = mutate(chance, good).decode("latin-1")
                # What the mutations left valid, this makes wrong.
                net.loom.write(text.replace("{", '{"not_a_key": 1, ', 1))
                code, answer = net.loom.raw("POST", "/config/reload")
                assert code == 422, (code, answer, text)
                error = json.loads(answer)["error"]
                assert error["code"] == "invalid_config" and f"{net.loom.file}:" in error["message"], error
        assert load.failures() == []
        assert state(net) == before
    finally:
        net.loom.write()
    net.loom.api("POST", "/config/reload")
    assert state(net)[0] == before[0]


def test_malformed_configurations_change_nothing(net):
    malformed_configurations(net, 300)


@pytest.mark.slow
def test_ten_thousand_malformed_configurations_change_nothing(net):
    malformed_configurations(net, 10_000)
