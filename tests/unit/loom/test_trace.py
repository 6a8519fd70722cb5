#!/usr/bin/env python3
"""'loom trace' against a real HTTP server on a UNIX socket."""
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from fake_loomd import FakeLoomd, Raw, error  # noqa: E402

LOOM = os.environ["LOOM"]
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm", "TZ": "UTC"}
ENVIRONMENT.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
FRAME = bytes(range(64))
PACKET = {"event": "packet", "time": "2026-01-02T03:04:05.123456789Z", "interface": "eth0", "length": 74,
          "protocol": "tcp", "source": "10.9.0.2:40000", "destination": "10.0.0.1:80", "tcp_flags": "SYN",
          "action": "forward", "reason": "forwarded", "meaning": "Sent to the backend", "service": "web",
          "backend_id": 1, "backend": "10.0.1.10:8080", "direction": "to_backend", "mode": "nat_full",
          "state": "syn_sent", "new": True, "frame": base64.b64encode(FRAME).decode()}
END = {"event": "end", "why": "duration", "seen": 9, "matched": 1, "sent": 1, "lost": 0}


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="loom-trace-")
        self.addCleanup(self.folder.cleanup)
        self.socket = os.path.join(self.folder.name, "s")
        self.loomd = FakeLoomd(self.socket)
        self.addCleanup(self.loomd.close)

    def serve(self, *rows):
        self.loomd.answers[("GET", "/ebpf/trace")] = (200, lines(*rows))

    def trace(self, *args, code=0):
        done = subprocess.run([LOOM, "--socket", self.socket, "trace", *args], env=ENVIRONMENT, capture_output=True,
                              timeout=60)
        self.assertEqual(done.returncode, code, done)
        return done.stdout, done.stderr.decode()

    def test_every_option_is_asked_for(self):
        self.serve(END)
        self.trace("--duration", "5m", "--address", "10.0.0.0/8", "--port=80", "--proto", "tcp", "--backend", "3",
                   "--drops", "--sample", "10", "--count", "7")
        self.assertEqual(self.loomd.requests[-1][1],
                         "/ebpf/trace?frames=false&duration=5m&address=10.0.0.0%2F8&port=80&proto=tcp&backend=3"
                         "&only=drops&sample=10&limit=7")

    def test_a_line_a_packet(self):
        self.serve(PACKET, {"event": "of a later version"}, END)
        out, err = self.trace()
        rows = [line.split() for line in out.decode().splitlines()]
        self.assertEqual(rows[0][:3], ["TIME", "IN", "SOURCE"])
        self.assertEqual(rows[1], ["03:04:05.123456", "eth0", "10.9.0.2:40000", "10.0.0.1:80", "tcp", "SYN", "forward",
                                   "forwarded", "web", "1", "(10.0.1.10:8080)", "syn_sent", "new"])
        self.assertEqual((len(rows), err), (2, "loom: 1 packet\n"))

    def test_lost_packets_are_said(self):
        self.serve(PACKET, {**END, "lost": 12})
        self.assertIn("12 more were lost", self.trace()[1])

    def test_json_is_passed_on(self):
        self.serve(PACKET, END)
        out, err = self.trace("--json")
        self.assertEqual(([json.loads(row) for row in out.splitlines()], err), ([PACKET, END], ""))

    def test_a_capture(self):
        self.serve(PACKET, END)
        file = os.path.join(self.folder.name, "t.pcapng")
        self.assertEqual(self.trace("-w", file), (b"", "loom: 1 packet\n"))
        self.assertIn("frames=true", self.loomd.requests[-1][1])
        with open(file, "rb") as opened:
            data = opened.read()
        self.assertEqual(data[:4], b"\n\r\r\n")
        self.assertIn(FRAME, data)
        self.assertIn(b"forward: forwarded (Sent to the backend); service=web backend=1 (10.0.1.10:8080)", data)
        self.assertEqual(self.trace("-w", "-")[0], data)

    def test_what_cannot_be_written_is_said(self):
        self.serve(PACKET, END)
        self.assertIn("cannot write /nonexistent/x", self.trace("-w", "/nonexistent/x", code=1)[1])
        self.assertIn("No space left", self.trace("-w", "/dev/full", code=1)[1])
        self.assertIn("leave one out", self.trace("-w", "x", "--json", code=2)[1])

    def test_refusals_and_nonsense(self):
        self.loomd.answers[("GET", "/ebpf/trace")] = (409, error("conflict", "cannot trace: somebody else does"))
        self.assertEqual(self.trace(code=1)[1], "loom: cannot trace: somebody else does\n")
        for body in (b"nonsense\n", b"[1]\n", lines({"event": 3}), lines({**PACKET, "reason": None}),
                     lines({k: v for k, v in PACKET.items() if k != "state"})):
            self.loomd.answers[("GET", "/ebpf/trace")] = (200, body)
            self.assertIn("cannot read loomd's answer", self.trace(code=1)[1], body)
        for bad in ("!", "AA="):
            self.serve({**PACKET, "frame": bad})
            self.assertIn("garbled", self.trace("-w", "/dev/null", code=1)[1])
        self.loomd.answers[("GET", "/ebpf/trace")] = Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n")
        self.trace(code=1)

    def test_a_daemon_that_goes_without_a_last_line(self):
        self.loomd.answers[("GET", "/ebpf/trace")] = Raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(lines(PACKET)) + lines(PACKET))
        out, err = self.trace(code=1)
        self.assertEqual(len(out.splitlines()), 2)
        self.assertIn("cannot read loomd's answer", err)

    def test_ctrl_c_ends_it_well(self):
        hold = threading.Event()
        self.addCleanup(hold.set)

        def answer(handler):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + lines(PACKET))
            handler.wfile.flush()
            hold.wait(30)
            return Raw(b"")

        self.loomd.answers[("GET", "/ebpf/trace")] = answer
        with subprocess.Popen([LOOM, "--socket", self.socket, "trace"], env=ENVIRONMENT, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            self.assertIn(b"syn_sent", process.stdout.readline())
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.communicate(timeout=10), (b"", b"loom: 1 packet\n"))
            self.assertEqual(process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
