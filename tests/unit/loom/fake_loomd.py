"""A real HTTP server on a UNIX socket that answers as docs/rest-api.md says, and keeps what it was asked."""
import copy
import http.server
import json
import os
import socketserver
import threading

BACKENDS = [
    {"id": 1, "service": "default", "address": "10.0.1.10", "port": 8080, "weight": 100, "state": "active",
     "origin": "config", "deadline_seconds": None,
     "health": {"state": "unhealthy", "since": 1700000000, "last_error": "status 503, not 200 to 399",
                "checks": 12, "falls": 1},
     "next_hop": {"state": "resolved", "interface": "eth0", "mac": "02:00:00:00:00:01"},
     "source": "10.0.0.1", "connections_active": 12},
    {"id": 2, "service": "default", "address": "2001:db8::2", "port": 0, "weight": 50, "state": "draining",
     "origin": "api", "deadline_seconds": None,
     "health": {"state": "unchecked", "since": None, "last_error": None, "checks": 0, "falls": 0},
     "next_hop": {"state": "resolving", "interface": None, "mac": None},
     "source": None, "connections_active": 0},
]
COUNTS = [
    {"id": 1, "service": "default", "backend": "10.0.1.10:8080", "packets": {"to": 1234567, "from": 1},
     "bytes": {"to": 3400000000, "from": 60}, "connections": {"active": 12, "total": 34}},
    {"id": 2, "service": "default", "backend": "[2001:db8::2]:0", "packets": {"to": 0, "from": 0},
     "bytes": {"to": 0, "from": 0}, "connections": {"active": 0, "total": 0}},
]
STATS = {
    "packets": {"forward": 1200000, "drop": 7, "pass": 3400},
    "bytes": {"rx": 3400000000, "tx": 3300000000},
    "connections": {"active": 12, "total": 34, "by_state": {"established": 10, "time_wait": 2}},
    "reasons": {"not_ours": {"action": "pass", "packets": 3400, "bytes": 204000},
                "no_route": {"action": "drop", "packets": 7, "bytes": 420}},
    "maps": {"connections": {"entries": 24, "max_entries": 2000000},
             "backends": {"entries": 2, "max_entries": 10000},
             "services": {"entries": 1, "max_entries": 65536}},
    "sweep": {"count": 3, "expired": 1, "last_duration_seconds": 0.001, "repairs": 0},
    "interfaces": [{"name": "eth0", "mode": "native", "program_id": 42}],
    "uptime_seconds": 93784.5, "version": "0.1.0",
}
HEALTH = {
    "checks": {"backends": 1, "in_flight": 0, "waiting": 0, "succeeded": 9, "failed": 3, "rises": 0, "falls": 1},
    "services": [{"name": "default", "panic": True, "backends": 2, "usable": 0, "on_unhealthy": "keep",
                  "min_healthy_percent": 60}],
    "backends": [
        {"id": 1, "service": "default", "address": "10.0.1.10", "port": 8080, "upstream": "web", "type": "http",
         "check_port": 8081, "state": "unhealthy", "since": 1700000000, "last_error": "status 503, not 200 to 399",
         "last_error_at": 1700000001, "checks": 12, "failures": 3, "falls": 1, "streak": 1, "needed": 4,
         "last_check_seconds": 0.002, "withheld_permille": 0, "cut": False}],
}
SERVICES = {"services": [
    {"name": "default", "addresses": ["10.0.0.1", "2001:db8::1"], "tcp_ports": [80, 443], "udp_ports": [53],
     "algorithm": "maglev", "maglev_table_size": 65537, "mode": "nat", "nat": "full", "backends": [1, 2]}]}
CONFIG = {"instance": "default", "admin": {"auth": {"bearer": "***"}}}


def steer_member(slot, **more):
    """MEMBER of docs/rest-api.md."""
    return {"id": slot + 10, "slot": slot, "cookie": 4096 + slot, "inode": 81234 + slot, "index": slot,
            "pid": 4711 + slot, "holders": 1, "comm": "unbound", "unit": "unbound.service", "label": None,
            "source": "unit", "address": "0.0.0.0", "weight": 100, "generation": 1, "state": "active",
            "age_ns": 3600000000000, "drain_left_ns": None, "held": False, "stuck": False, "queue": 0,
            "queue_max": 212992, "handshakes": 0, "queue_age_ns": 0, "drops": 0, "generation_flows": 0,
            "kernel": {"packets": 1000, "bytes": 60000}, "selected": {"packets": 100, "bytes": 6000},
            "shadow_packets": 11, "migrated": 0, "rate": 50, **more}


def steer_group(**more):
    """GROUP of docs/rest-api.md."""
    return {"name": "dns", "protocol": "udp", "address": "0.0.0.0", "port": 53, "netns": None, "policy": "weighted",
            "state": "canary", "canary_permille": 100, "frozen": False, "fallback": False, "target": "enforced",
            "automatic": False, "reverted": False, "held_back": None, "state_age_ns": 61000000000, "cooldown_ns": 0,
            "attached": True, "program": 42, "program_own": 42, "exact": True,
            "counters": {"kernel": 2000, "selected": 200, "shadow_same": 0, "slot_empty": 0},
            "transitions": {"forward": 3, "back": 0}, "repairs": 0, "resets": 0, "max_over_mean_permille": 1020,
            "jain_permille": 999, "probe_p99_ns": None, "probe_failures": 0, "indices": 0,
            "last": {"at": 1700000000, "from": "shadow", "to": "canary", "actor": "operator", "reason": "soaked"},
            "members": [steer_member(0), steer_member(1)], **more}


AUDIT = {"group": "dns", "transitions": [
    {"at": 1700000000, "from": "shadow", "to": "canary", "actor": "operator", "reason": "soaked",
     "numbers": {"max_over_mean_permille": 1020}},
    {"at": 1700000300, "from": "canary", "to": "shadow", "actor": "guard", "reason": "imbalance 3.1 over 2.0",
     "numbers": {"rule": "imbalance", "value": 3100}}]}
HISTORY = {"group": "dns", "windows": [
    {"at": 1700000000 + 10 * i, "members": [{"id": slot + 10, "slot": slot, "pid": 4711 + slot, "state": "active", "gone": False,
                                             "rate": 10 * i + slot, "queue": i} for slot in (0, 1)]}
    for i in range(3)]}
CAPABILITIES = {"capabilities": {"kernel": "6.18", "rights": {"CAP_BPF": True, "CAP_PERFMON": False}, "policies": {
    "weighted": {"possible": True, "probed": True, "missing": None, "note": None},
    "least_loaded": {"possible": False, "probed": True, "missing": "CAP_PERFMON", "note": None}}, "features": {
    "read_group": {"possible": False, "probed": True, "missing": "bpf_rdonly_cast (Linux 6.2)", "note": None,
                   "what": "the kernel's own choice, least_loaded"},
    "migrate": {"possible": True, "probed": True, "missing": None, "note": None, "what": "migration"}}}}
EXPLANATION = {"group": "dns", "known": True, "slot": 3, "why": "selected", "text": "the plan's entry 17 is slot 3"}
DECISION = {"event": "decision", "time": "2026-01-02T03:04:05.123456789Z", "protocol": "udp",
            "source": "10.9.0.2:40000", "destination": "10.0.0.1:53", "hash": 3735928559, "kernel_slot": 1,
            "policy_slot": 3, "chosen_slot": None, "reason": "selected",
            "meaning": "Sent to the member that the policy chose", "mode": "canary", "migrated": False, "length": 60,
            "word": "04000000", "index": 0}
STEER_ACTIONS = ("attach", "detach", "policy", "rollout", "freeze", "unfreeze", "fallback", "resume", "drain",
                 "undrain", "swap", "weight")


def connection(number):
    return {"protocol": "tcp", "client": f"10.9.0.2:{40000 + number % 20000}", "service_address": "10.0.0.1:80",
            "backend": "10.0.1.10:8080", "backend_id": None if number % 2 else 1, "source": "10.0.0.1:2048",
            "state": "established", "idle_seconds": 0.5, "age_seconds": 12.1}


def error(code, message, field=None):
    inner = {"code": code, "message": message}
    if field:
        inner["field"] = field
    return {"error": inner}


class Raw(bytes):
    """Bytes sent as the whole answer, in place of HTTP."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *args):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        self.server.requests.append((self.command, self.path, json.loads(body) if body else None))
        self.server.headers.append(dict(self.headers))
        path = self.path.partition("?")[0]
        reply = self.server.answers.get((self.command, path))
        if callable(reply):
            reply = reply(self)
        if reply is None:
            reply = (404, error("not_found", "there is no such route; see docs/rest-api.md"))
        if isinstance(reply, Raw):
            self.wfile.write(reply)
            self.close_connection = True
            return
        status, document = reply
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = answer


class FakeLoomd(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        super().__init__(path, Handler)
        self.path = path
        self.requests = []
        self.headers = []
        self.answers = {}
        self.reset()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def reset(self):
        self.requests.clear()
        self.headers.clear()
        self.answers.clear()
        self.answers.update(copy.deepcopy({
            ("GET", "/ready"): (200, {"ready": True}),
            ("GET", "/services"): (200, SERVICES),
            ("GET", "/config"): (200, CONFIG),
            ("GET", "/ebpf/stats"): (200, STATS),
            ("GET", "/ebpf/health"): (200, HEALTH),
            ("GET", "/ebpf/backends"): (200, {"backends": BACKENDS}),
            ("GET", "/ebpf/backends/stats"): (200, {"backends": COUNTS}),
            ("GET", "/ebpf/connections"): (200, {"connections": [connection(0), connection(1)],
                                                 "next_cursor": None}),
            ("POST", "/ebpf/backends"): (201, BACKENDS[0]),
            ("PATCH", "/ebpf/backends/1"): (200, BACKENDS[0]),
            ("DELETE", "/ebpf/backends/1"): (200, dict(BACKENDS[0], state="removed")),
            ("GET", "/steer/groups"): (200, {"groups": [steer_group()]}),
            ("GET", "/steer/groups/dns"): (200, steer_group()),
            ("GET", "/steer/groups/dns/audit"): (200, AUDIT),
            ("GET", "/steer/groups/dns/history"): (200, HISTORY),
            ("GET", "/steer/groups/dns/explain"): (200, EXPLANATION),
            ("GET", "/steer/capabilities"): (200, CAPABILITIES),
            **{("POST", f"/steer/groups/dns/{action}"): (200, steer_group()) for action in STEER_ACTIONS},
            ("POST", "/config/reload"): (200, {"changes": ["backend 3 added"]}),
        }))

    def handle_error(self, request, client_address):
        """A client that hangs up in the middle of an answer is part of the tests."""

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()
        os.unlink(self.path)
