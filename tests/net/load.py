#!/usr/bin/env python3
"""Requests without end, each answer checked and each failure told apart.

Prints a JSON line every interval and a last one on SIGTERM: requests, answers by backend, failures
with the backend (if the connection had one already), the client's port and what went wrong.
"""
import argparse
import collections
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

STOP = threading.Event()


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.requests = 0
        self.by_backend = collections.Counter()
        self.failures = []
        self.slowest = 0.0

    def answered(self, backend, seconds):
        with self.lock:
            self.requests += 1
            self.by_backend[backend] += 1
            self.slowest = max(self.slowest, seconds)

    def failed(self, backend, port, what):
        with self.lock:
            self.requests += 1
            self.failures.append({"backend": backend, "port": port, "what": what, "at": round(time.time(), 3)})

    def report(self):
        with self.lock:
            return {"requests": self.requests, "by_backend": dict(self.by_backend), "failed": len(self.failures),
                    "failures": self.failures[:200], "slowest": round(self.slowest, 3)}


class Pace:
    """Hands out the moments at which requests begin: a rate in all, however many threads."""

    def __init__(self, rate):
        self.lock = threading.Lock()
        self.step = 1.0 / rate if rate else 0.0
        self.next = time.monotonic()

    def wait(self):
        with self.lock:
            now = time.monotonic()
            self.next = max(self.next + self.step, now - 0.1)
            due = self.next
        if due > now:
            STOP.wait(due - now)


class Http:
    """One thread's requests; keeps its connection or opens one for each."""

    def __init__(self, to, keep, timeout, renew):
        self.to, self.keep, self.timeout, self.renew = to, keep, timeout, renew
        self.sock = None
        self.backend = None
        self.left = 0
        host = f"[{to[0]}]" if ":" in to[0] else to[0]
        last = "keep-alive" if keep else "close"
        self.request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {last}\r\n\r\n".encode()

    def once(self):
        """The backend that answered; OSError or ValueError if none did."""
        if self.sock is None:
            self.backend = None
            family = socket.AF_INET6 if ":" in self.to[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.to)
            self.left = self.renew
        self.sock.sendall(self.request)
        self.backend, more = self._answer()
        self.left -= 1
        if not (self.keep and more) or self.left == 0:
            self.close()
        return self.backend

    def _answer(self):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        if lines[0] != b"HTTP/1.1 200 OK":
            raise ValueError(f"status {lines[0]!r}")
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
        while len(body) < int(fields[b"content-length"]):
            body += self._some()
        name = body.decode().strip()
        if self.backend not in (None, name):
            raise ValueError(f"the connection moved from {self.backend} to {name}")
        return name, fields.get(b"connection") != b"close"

    def _some(self):
        data = self.sock.recv(4096)
        if not data:
            raise ConnectionError("closed before the answer's end")
        return data

    def port(self):
        try:
            return self.sock.getsockname()[1]
        except (OSError, AttributeError):
            return 0

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None


class Dns:
    """One thread's DNS queries; a new source port each, or one for all."""

    def __init__(self, to, keep, timeout, _renew):
        self.to, self.keep, self.timeout = to, keep, timeout
        self.sock = None
        self.backend = None

    def once(self):
        if self.sock is None:
            family = socket.AF_INET6 if ":" in self.to[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.to)
        ident = random.randbytes(2)
        query = ident + b"\1\0\0\1\0\0\0\0\0\0\3who\4loom\4test\0" + struct.pack("!2H", 16, 1)
        self.sock.send(query)
        answer = self.sock.recv(512)
        while answer[:2] != ident:
            answer = self.sock.recv(512)
        at = len(query) + 12
        self.backend = answer[at + 1:at + 1 + answer[at]].decode()
        if not self.keep:
            self.close()
        return self.backend

    port = Http.port
    close = Http.close


def worker(flow, pace, tally):
    while not STOP.is_set():
        pace.wait()
        if STOP.is_set():
            break
        start = time.monotonic()
        try:
            backend = flow.once()
        except (OSError, ValueError, KeyError, IndexError) as error:
            tally.failed(flow.backend, flow.port(), f"{type(error).__name__}: {error}")
            flow.close()
        else:
            tally.answered(backend, time.monotonic() - start)
    flow.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=["keep", "short", "mixed", "dns"], default="mixed")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rate", type=float, default=800, help="requests a second in all; 0: as fast as it goes")
    parser.add_argument("--timeout", type=float, default=8)
    parser.add_argument("--renew", type=int, default=0, help="a kept connection ends after so many requests; 0: never")
    parser.add_argument("--interval", type=float, default=0.2)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    signal.signal(signal.SIGINT, lambda *_: STOP.set())
    sys.setswitchinterval(0.001)
    pace, tally = Pace(args.rate), Tally()
    threads = []
    for number in range(args.threads):
        keep = args.kind == "keep" or (args.kind in ("mixed", "dns") and number % 2 == 0)
        flow = (Dns if args.kind == "dns" else Http)((args.to, args.port), keep, args.timeout, args.renew)
        threads.append(threading.Thread(target=worker, args=(flow, pace, tally)))
    for thread in threads:
        thread.start()
    parent = os.getppid()
    while not STOP.wait(args.interval):
        print(json.dumps(tally.report()), flush=True)
        if os.getppid() != parent:
            STOP.set()
    for thread in threads:
        thread.join()
    print(json.dumps(tally.report()), flush=True)


if __name__ == "__main__":
    main()
