"""The real servers and clients of the tests: nginx, unbound, our load generator, small sockets."""
import json
import pathlib
import random
import signal
import socket
import struct
import sys
import threading

from lab import HERE, PATIENCE, LabError, family_of, url_host

HTTP_PORT, DNS_PORT = 8080, 5353
BLOB_BYTES = 1 << 20


def blob():
    """A megabyte that repeats nowhere, the same every time."""
    return random.Random(1).randbytes(BLOB_BYTES)


NGINX = """daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 12000; }}
http {{
	access_log off;
	default_type text/plain;
	keepalive_timeout 600s;
	keepalive_requests 100000000;
	client_max_body_size 64m;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	server {{
		listen 0.0.0.0:{port} backlog=8192;
		listen [::]:{port} backlog=8192;
		root {dir}/files;
		location = / {{ return 200 "{name}\\n"; }}
		location = /who {{ return 200 "{name} $remote_addr $remote_port\\n"; }}
		location /put/ {{ dav_methods PUT; create_full_put_path on; }}
	}}
}}
"""


class Nginx:
    """Answers / with its name, /who with the client's address, /blob with a megabyte; takes PUT /put/..."""

    def __init__(self, host, port=HTTP_PORT):
        self.host = host
        self.dir = host.lab.dir / f"nginx-{host.short}"
        self.files = self.dir / "files"
        self.files.mkdir(parents=True)
        (self.files / "blob").write_bytes(blob())
        config = self.dir / "nginx.conf"
        config.write_text(NGINX.format(dir=self.dir, port=port, name=host.short), encoding="ascii")
        self.argv = ["nginx", "-e", "stderr", "-p", self.dir, "-c", config]
        self.process = None
        self.start()

    def start(self):
        self.process = self.host.spawn("nginx", *self.argv)
        self.process.wait_line("start worker process ")

    def stop(self, number=signal.SIGTERM):
        self.host.lab.end(self.process, number)


UNBOUND = """server:
	interface: {address4}
	interface: {address6}
{extra}	port: {port}
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	do-daemonize: no
	chroot: ""
	username: ""
	pidfile: ""
	directory: "{dir}"
	use-syslog: no
	logfile: ""
	verbosity: 1
	num-threads: 1
	module-config: "iterator"
	root-hints: ""
	local-zone: "loom.test." static
	local-data: "www.loom.test. 60 IN A 192.0.2.80"
	local-data: "www.loom.test. 60 IN AAAA 2001:db8::80"
	local-data: 'who.loom.test. 60 IN TXT "{name}"'
"""


class Unbound:
    """A DNS server with a zone of its own; who.loom.test TXT is its name."""

    def __init__(self, host, port=DNS_PORT, extra=()):
        self.host = host
        where = host.lab.dir / f"unbound-{host.short}"
        where.mkdir()
        config = where / "unbound.conf"
        config.write_text(UNBOUND.format(dir=where, name=host.short, port=port, address4=host.address4,
                                         address6=host.address6,
                                         extra="".join(f"\tinterface: {one}\n" for one in extra)), encoding="ascii")
        self.process = host.spawn("unbound", "unbound", "-d", "-c", config)
        self.process.wait_line("start of service")

    def stop(self):
        self.host.lab.end(self.process)


def dns_query(name, kind=16, ident=None):
    """A query's bytes (RFC 1035 section 4); kind 1 is A, 16 TXT."""
    ident = random.getrandbits(16) if ident is None else ident
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def dns_text(query, answer):
    """The text of the answer to a TXT query, checked against what was asked."""
    ident, flags, _, count, _, _ = struct.unpack_from("!6H", answer)
    if answer[:2] != query[:2] or flags & 0x800F != 0x8000 or count != 1:
        raise LabError(f"not an answer: id {ident:#x} flags {flags:#x} answers {count}")
    # The question comes back as sent; then name pointer, type, class, TTL, length, and the text.
    at = len(query) + 12
    return answer[at + 1:at + 1 + answer[at]].decode()


def ask(sock, to, name="who.loom.test"):
    """Who answers a DNS query sent from this socket."""
    query = dns_query(name)
    sock.sendto(query, to)
    return dns_text(query, sock.recv(512))


class UdpEcho:
    """Answers every datagram with NAME CLIENT PORT and the datagram."""

    def __init__(self, host, address, port):
        self.name = host.short
        self.sock = host.datagram(address, port)
        self.sock.settimeout(None)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        host.lab.closers.append(self.close)

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(65535)
            except OSError:
                return
            if not data and peer is None:
                return
            try:
                self.sock.sendto(f"{self.name} {peer[0]} {peer[1]} ".encode() + data, peer)
            except OSError:
                return

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.thread.join(1)


def curl(host, url, *options, timeout=PATIENCE):
    """What curl printed; an error if it failed."""
    return host.run("curl", "-sS", "--fail", "--max-time", str(timeout), *options, url, timeout=timeout + 10)


def who(host, address, port, source=None):
    """Which backend answers a new connection, and from where it saw it come."""
    with host.connect(address, port, source) as sock:
        sock.sendall(f"GET /who HTTP/1.1\r\nHost: {url_host(address)}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
        name, peer, peer_port = answer.partition(b"\r\n\r\n")[2].decode().split()
        return name, peer, int(peer_port)


def ping(host, address, size, timeout=3):
    """One ICMP echo; fragmented by the kernel where it is larger than a frame."""
    six = ":" in address
    payload = random.randbytes(size)
    head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 4711, 1)
    if not six:  # for IPv6 the kernel fills in the checksum
        head = struct.pack("!BBHHH", 8, 0, _checksum(head + payload), 4711, 1)
    with host.entered():
        sock = socket.socket(family_of(address), socket.SOCK_RAW, 58 if six else socket.IPPROTO_ICMP)
    with sock:
        sock.settimeout(timeout)
        sock.sendto(head + payload, (address, 0))
        while True:
            answer = sock.recv(65535)
            if not six:
                answer = answer[(answer[0] & 15) * 4:]
            if answer[0] == (129 if six else 0):
                break
    if answer[8:] != payload:
        raise LabError(f"ping {address}: {len(answer) - 8} other bytes came back")


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Load:
    """load.py in a namespace: requests that go on until told to end, each failure kept.

        with Load(client, VIP4, 80) as load: ...
        assert load.failures() == []
    """

    def __init__(self, host, address, port, kind="mixed", threads=8, rate=800, timeout=8, renew=0):
        self.host = host
        self.final = None
        self.argv = [sys.executable, HERE / "load.py", "--to", address, "--port", port, "--kind", kind,
                     "--threads", threads, "--rate", rate, "--timeout", timeout,
                     "--renew", renew]
        self.process = None

    def __enter__(self):
        self.process = self.host.spawn("load", *self.argv)
        self.process.wait_line('"requests": [1-9]')
        return self

    def __exit__(self, kind, *_):
        if self.process in self.host.lab.processes:
            self.host.lab.end(self.process)
            self.final = json.loads(self.process.lines[-1])

    def so_far(self):
        """The last interval's report."""
        return json.loads(self.process.lines[-1])

    def more(self, requests=200, timeout=15.0):
        """Returns after so many more requests were answered or failed."""
        seen = len(self.process.lines)
        goal = self.so_far()["requests"] + requests
        while self.so_far()["requests"] < goal:
            self.process.wait_line(".", timeout, seen)
            seen = len(self.process.lines)

    def failures(self):
        return self.final["failures"]

    def by_backend(self):
        return self.final["by_backend"]
