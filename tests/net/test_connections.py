"""Ten thousand connections at once."""
import contextlib
import selectors
import socket

import pytest

from balancer import serving
from lab import LabError, VIP4

COUNT = 10_000
WAVE = 500  # so many handshakes at a time: no listen queue need overflow
REQUEST = b"GET / HTTP/1.1\r\nHost: loom\r\n\r\n"


class Holder:
    """Opens connections in waves and holds them."""

    def __init__(self, namespace, address, port):
        self.namespace, self.to = namespace, (address, port)
        self.socks = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.socks:
            sock.close()

    def open(self, count):
        for _ in range(count // WAVE):
            with self.namespace.entered():
                wave = [socket.socket() for _ in range(WAVE)]
            self.socks += wave
            for sock in wave:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(self.to)
            self._each(wave, selectors.EVENT_WRITE, self._connected)

    @staticmethod
    def _connected(sock):
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")
        return True

    def ask_all(self):
        """What each connection answers, in waves: by its port."""
        answers = {}

        def answered(sock):
            data = sock.recv(4096)
            answers[sock.getsockname()[1]] = data.rpartition(b"\r\n\r\n")[2].strip().decode()
            return data.startswith(b"HTTP/1.1 200 OK")

        for start in range(0, len(self.socks), WAVE):
            wave = self.socks[start:start + WAVE]
            for sock in wave:
                sock.send(REQUEST)
            self._each(wave, selectors.EVENT_READ, answered)
        return answers

    @staticmethod
    def _each(socks, event, done, timeout=15):
        with selectors.DefaultSelector() as selector:
            for sock in socks:
                selector.register(sock, event)
            while selector.get_map():
                ready = selector.select(timeout)
                if not ready:
                    raise LabError(f"{len(selector.get_map())} of {len(socks)} connections wait for nothing")
                for key, _ in ready:
                    if not done(key.fileobj):
                        raise LabError("a connection answered something else")
                    selector.unregister(key.fileobj)


@pytest.fixture(scope="module")
def net():
    with serving(dns_servers=False) as made:
        yield made


def test_ten_thousand_connections_each_answer_and_are_listed(net):
    with Holder(net.client, VIP4, 80) as holder:
        holder.open(COUNT)
        answers = holder.ask_all()
        assert len(answers) == COUNT and set(answers.values()) == {"b1", "b2", "b3"}

        rows = net.loom.connections(client="10.9.0.2/32", state="established")
        assert {int(row["client"].rpartition(":")[2]) for row in rows} == set(answers)
        assert len(rows) == COUNT, "a connection was listed twice"

        by_id = {row["id"]: row for row in net.loom.api("GET", "/ebpf/backends")["backends"]}
        of_one = net.loom.backend(net.hosts[0])["id"]
        filtered = net.loom.connections(backend=of_one, state="established")
        assert len(filtered) == list(answers.values()).count("b1")
        assert {row["backend"] for row in filtered} == {f"{by_id[of_one]['address']}:8080"}

        # A second round shows that the first did not merely pass through.
        assert holder.ask_all() == answers
    assert len({(row["source"], row["backend"]) for row in rows}) == COUNT, "two connections look alike to a backend"
