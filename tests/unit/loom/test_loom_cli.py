#!/usr/bin/env python3
"""Runs the loom binary against a real HTTP server on a UNIX socket."""
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from fake_loomd import BACKENDS, CONFIG, COUNTS, HEALTH, STATS, FakeLoomd, Raw, connection, error  # noqa: E402

LOOM = os.environ["LOOM"]
SOURCE = pathlib.Path(os.environ["LOOM_SOURCE"])
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm"}
# The sanitizers' own settings, where the build has them.
ENVIRONMENT.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
ENTER, LEAVE = b"\033[?1049h", b"\033[?1049l"
OK, REFUSED, USAGE, UNREACHABLE, NOT_READY = range(5)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="loom-cli-")
        cls.socket = os.path.join(cls.folder.name, "s")
        cls.loomd = FakeLoomd(cls.socket)

    @classmethod
    def tearDownClass(cls):
        cls.loomd.close()
        cls.folder.cleanup()

    def setUp(self):
        self.loomd.reset()

    def loom(self, *args, code=OK, socket=True):
        where = ["--socket", self.socket] if socket else []
        done = subprocess.run([LOOM, *where, *args], env=ENVIRONMENT, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, code, done)
        if code != OK and code != NOT_READY:
            self.assertRegex(done.stderr.decode(), r"(?s)\Aloom: .+\n\Z")
        return done.stdout.decode(), done.stderr.decode()

    def answer(self, method, path, status, document):
        self.loomd.answers[(method, path)] = document if isinstance(document, Raw) else (status, document)

    def rows(self, text):
        return [line.split() for line in text.splitlines()]


class Requests(Case):
    def test_each_verb_sends_what_the_api_wants(self):
        one = "/ebpf/backends/1"
        for args, want in (
            (["services"], [("GET", "/services", None)]),
            (["stats"], [("GET", "/ebpf/stats", None)]),
            (["config"], [("GET", "/config", None)]),
            (["reload"], [("POST", "/config/reload", None)]),
            (["reload", "--reset"], [("POST", "/config/reload?reset=true", None)]),
            (["status"], [("GET", "/ready", None), ("GET", "/ebpf/stats", None), ("GET", "/ebpf/backends", None),
                          ("GET", "/config", None)]),
            (["backends"], [("GET", "/ebpf/backends", None), ("GET", "/ebpf/backends/stats", None)]),
            (["backends", "add", "10.0.1.10:8080"],
             [("POST", "/ebpf/backends", {"address": "10.0.1.10", "port": 8080})]),
            (["backends", "add", "--weight=0", "[2001:db8::1]:0", "--id", "7", "--service", "dns"],
             [("POST", "/ebpf/backends",
               {"address": "2001:db8::1", "port": 0, "weight": 0, "id": 7, "service": "dns"})]),
            (["backends", "weight", "1", "65535"], [("PATCH", one, {"weight": 65535})]),
            (["backends", "drain", "1"], [("PATCH", one, {"state": "draining"})]),
            (["backends", "drain", "1", "--deadline", "30s"],
             [("PATCH", one, {"state": "draining", "deadline": "30s"})]),
            (["health"], [("GET", "/ebpf/health", None)]),
            (["backends", "undrain", "1"], [("PATCH", one, {"state": "active"})]),
            (["backends", "rm", "1"], [("DELETE", one, None)]),
            (["backends", "rm", "1", "--deadline", "30s"], [("DELETE", one + "?deadline=30s", None)]),
            (["backends", "rm", "--force", "1"], [("DELETE", one + "?force=true", None)]),
            (["backends", "rm", "1", "--force", "--deadline=1m&x"],
             [("DELETE", one + "?deadline=1m%26x&force=true", None)]),
            (["conns"], [("GET", "/ebpf/connections?limit=100", None)]),
            (["conns", "--client", "10.0.0.0/8", "--backend", "3", "--state", "a b", "--limit", "5"],
             [("GET", "/ebpf/connections?limit=5&client=10.0.0.0%2F8&backend=3&state=a%20b", None)]),
        ):
            with self.subTest(args):
                self.loomd.requests.clear()
                self.loom(*args)
                self.assertEqual(self.loomd.requests, want)

    def test_a_body_has_its_type_and_no_body_has_none(self):
        self.loom("backends", "weight", "1", "5")
        self.assertEqual(self.loomd.headers[-1].get("Content-Type"), "application/json")
        self.loom("reload")
        self.assertNotIn("Content-Type", self.loomd.headers[-1])

    def test_the_token_is_sent_without_what_surrounds_it(self):
        token = os.path.join(self.folder.name, "token")
        pathlib.Path(token).write_text("secret-1\n")
        self.loom("services", "--token-file", token)
        self.assertEqual(self.loomd.headers[-1]["Authorization"], "Bearer secret-1")

    def test_a_token_that_would_be_more_than_a_header_is_refused(self):
        token = os.path.join(self.folder.name, "token")
        for text in ("", "\n", "a\r\nX-Other: b", "a b", "x" * 5000):
            pathlib.Path(token).write_text(text)
            _, err = self.loom("services", "--token-file", token, code=USAGE)
            self.assertIn("cannot use the token in", err)
        _, err = self.loom("services", "--token-file", token + "-gone", code=USAGE)
        self.assertIn("cannot read the token file", err)
        self.assertEqual(self.loomd.requests, [])


class Output(Case):
    def test_status_says_what_there_is_to_know(self):
        out, err = self.loom("status")
        for text in ("ready", "0.1.0, up 1d 2h", "eth0, native XDP, program 42",
                     "1.2 M forwarded, 7 dropped, 3.4 k passed", "3.4 GB received, 3.3 GB sent",
                     "12 active, 34 since start", "10 established", "connections: 24 of 2.0 M (<0.1%)",
                     "1 of 2 up"):
            self.assertIn(text, out)
        self.assertEqual(err, "")

    def test_status_of_a_loomd_that_is_not_ready_has_an_exit_code_of_its_own(self):
        self.answer("GET", "/ready", 503, {"ready": False, "reason": "eth7 is gone"})
        out, _ = self.loom("status", code=NOT_READY)
        self.assertIn("not ready: eth7 is gone", out)
        self.assertIn("1 of 2 up", out)
        self.answer("GET", "/ebpf/stats", 503, error("not_ready", "no data path"))
        out, err = self.loom("status", code=NOT_READY)
        self.assertIn("not ready: eth7 is gone", out)
        self.assertEqual(err, "")
        self.assertEqual(json.loads(self.loom("--json", "status", code=NOT_READY)[0])["ready"], False)

    def test_backends_are_listed_with_their_next_hop_and_counts(self):
        rows = self.rows(self.loom("backends")[0])
        self.assertEqual(rows[1], ["1", "default", "10.0.1.10:8080", "100", "active", "unhealthy", "02:00:00:00:00:01", "eth0",
                                   "12", "34", "1.2", "M", "1", "3.4", "GB", "60", "B"])
        self.assertEqual(rows[2][:9],
                         ["2", "default", "[2001:db8::2]:*", "50", "draining", "unchecked", "resolving", "0", "0"])

    def test_health_is_listed_with_the_last_error_and_panics_come_first(self):
        out, _ = self.loom("health")
        self.assertTrue(out.startswith("service default panics: 0 of 2 backends are usable, less than 60%; all are used"))
        self.assertIn("unhealthy, 1 of 4 to rise", out)
        self.assertIn("http :8081", out)
        self.assertIn("status 503, not 200 to 399", out)
        self.assertEqual(json.loads(self.loom("health", "--json")[0]), HEALTH)

    def test_health_says_when_nothing_is_checked(self):
        self.answer("GET", "/ebpf/health", 200, dict(HEALTH, services=[], backends=[]))
        self.assertIn("no backend is checked", self.loom("health")[0])

    def test_a_backend_without_counts_yet_is_listed(self):
        self.answer("GET", "/ebpf/backends/stats", 200, {"backends": []})
        self.assertEqual(len(self.rows(self.loom("backends")[0])), 3)

    def test_a_deadline_is_shown_with_what_is_left_of_it(self):
        self.answer("GET", "/ebpf/backends", 200,
                    {"backends": [dict(BACKENDS[0], state="removed", deadline_seconds=28.4)]})
        self.assertIn("removed, 28s left", self.loom("backends")[0])

    def test_services_stats_and_changes_are_printed(self):
        self.assertIn("10.0.0.1, 2001:db8::1  tcp 80, 443; udp 53  maglev", self.loom("services")[0])
        self.assertIn(["no_route", "drop", "7", "420", "B"], self.rows(self.loom("stats")[0]))
        self.assertEqual(self.loom("reload")[0], "backend 3 added\n")
        self.answer("POST", "/config/reload", 200, {"changes": []})
        self.assertEqual(self.loom("reload")[0], "nothing has changed\n")
        self.assertEqual(self.loom("backends", "drain", "1")[0],
                         "backend 1 of default: 10.0.1.10:8080, weight 100, active\n")

    def test_lists_of_nothing_say_so(self):
        self.answer("GET", "/services", 200, {"services": []})
        self.answer("GET", "/ebpf/backends", 200, {"backends": []})
        self.answer("GET", "/ebpf/connections", 200, {"connections": [], "next_cursor": None})
        self.assertEqual(self.loom("services")[0], "no services\n")
        self.assertIn("no backends; add one", self.loom("backends")[0])
        self.assertEqual(self.loom("conns")[0], "no connections\n")
        self.assertEqual(json.loads(self.loom("conns", "--json")[0]), {"connections": [], "next_cursor": None})

    def test_json_is_the_apis(self):
        self.assertEqual(json.loads(self.loom("stats", "--json")[0]), STATS)
        self.assertEqual(json.loads(self.loom("config", "--json")[0]), CONFIG)
        self.assertEqual(json.loads(self.loom("config")[0]), CONFIG)
        self.assertEqual(json.loads(self.loom("backends", "--json")[0]),
                         {"backends": [dict(b, stats=c) for b, c in zip(BACKENDS, COUNTS)]})
        self.assertEqual(json.loads(self.loom("backends", "rm", "1", "--json")[0])["state"], "removed")
        whole = json.loads(self.loom("status", "-j")[0])
        self.assertEqual((whole["ready"], whole["stats"], whole["backends"]), (True, STATS, BACKENDS))

    def test_text_from_the_server_cannot_drive_the_terminal(self):
        evil = "a\033]0;owned\007\x7f\n\u202eb"
        self.answer("GET", "/ebpf/backends", 200, {"backends": [dict(BACKENDS[0], service=evil)]})
        out, _ = self.loom("backends")
        self.assertIn(r"a\x1b]0;owned\x07\x7f\x0a\xe2\x80\xaeb", out)
        self.answer("GET", "/services", 500, error("internal", evil))
        _, err = self.loom("services", code=REFUSED)
        self.assertEqual(err, "loom: a\\x1b]0;owned\\x07\\x7f\n\\xe2\\x80\\xaeb\n")

    def test_json_for_a_terminal_is_ascii_and_indented(self):
        self.answer("GET", "/services", 200, {"services": [{"name": "é\x7f\u009b"}]})
        out = Terminal(self, "services", "--json").read_all()
        self.assertIn(b'  "services": [\r\n', out)
        self.assertIn(b'"\\u00E9\\u007f\\u009B"', out)


class Connections(Case):
    def serve(self, total, cursors=True):
        """Pages of what was asked for, or of 400 if that is less."""
        def page(handler):
            query = dict(p.split("=") for p in handler.path.partition("?")[2].split("&"))
            start = int(query.get("cursor", "0"))
            end = min(total, start + min(int(query["limit"]), 400))
            return 200, {"connections": [connection(n) for n in range(start, end)],
                         "next_cursor": str(end) if end < total else None}
        self.loomd.answers[("GET", "/ebpf/connections")] = page

    def test_all_pages_are_one_table_with_one_heading(self):
        self.serve(1000)
        lines = self.loom("conns", "--all")[0].splitlines()
        self.assertEqual(len(lines), 1001)
        self.assertEqual(len({line.index("10.0.1.10") for line in lines[1:]}), 1)
        self.assertEqual([r[1] for r in self.loomd.requests],
                         ["/ebpf/connections?limit=1000", "/ebpf/connections?limit=1000&cursor=400",
                          "/ebpf/connections?limit=1000&cursor=800"])

    def test_all_pages_are_one_document(self):
        self.serve(1000)
        got = json.loads(self.loom("conns", "--all", "--json")[0])
        self.assertEqual(got, {"connections": [connection(n) for n in range(1000)], "next_cursor": None})

    def test_a_limit_is_kept_over_pages_and_says_that_there_is_more(self):
        self.serve(1000)
        out, err = self.loom("conns", "--limit", "500")
        self.assertEqual(len(out.splitlines()), 501)
        self.assertEqual([r[1].partition("?")[2] for r in self.loomd.requests], ["limit=500", "limit=100&cursor=400"])
        self.assertIn("the first 500", err)
        self.assertEqual(json.loads(self.loom("conns", "--limit", "500", "--json")[0])["next_cursor"], "500")

    def test_an_empty_page_is_not_the_end(self):
        pages = iter([{"connections": [], "next_cursor": "a"}, {"connections": [connection(0)], "next_cursor": None}])
        self.loomd.answers[("GET", "/ebpf/connections")] = lambda handler: (200, next(pages))
        self.assertEqual(len(self.loom("conns")[0].splitlines()), 2)

    def test_a_cursor_that_stands_still_ends_the_listing(self):
        self.answer("GET", "/ebpf/connections", 200, {"connections": [], "next_cursor": "a"})
        _, err = self.loom("conns", "--all", code=REFUSED)
        self.assertIn("the same 'next_cursor' twice", err)

    def test_a_connection_whose_backend_has_gone_is_shown_so(self):
        self.assertIn("gone", self.loom("conns")[0].splitlines()[2])

    def test_a_refused_first_page_prints_no_half_document(self):
        self.answer("GET", "/ebpf/connections", 400, error("bad_request", "there is no state x; use udp", "state"))
        out, err = self.loom("conns", "--state", "x", "--json", code=REFUSED)
        self.assertEqual((out, err), ("", "loom: there is no state x; use udp\n"))


class Failures(Case):
    def test_a_refusal_is_the_apis_sentence(self):
        self.answer("POST", "/ebpf/backends", 409, error("conflict", "id 7 is taken; leave it out", "id"))
        _, err = self.loom("backends", "add", "10.0.0.1:80", "--id", "7", code=REFUSED)
        self.assertEqual(err, "loom: id 7 is taken; leave it out\n")
        self.answer("POST", "/ebpf/backends", 422, error("invalid_value", "too heavy", "weight"))
        _, err = self.loom("backends", "add", "10.0.0.1:80", code=REFUSED)
        self.assertEqual(err, "loom: too heavy (weight)\n")

    def test_a_refusal_of_many_lines_is_printed_to_its_end(self):
        lines = "\n".join(f"a.yaml:{n}:1: error: unknown key" for n in range(100))
        self.answer("POST", "/config/reload", 422, error("invalid_config", lines))
        done = subprocess.run([LOOM, "--socket", self.socket, "reload"], env=ENVIRONMENT, capture_output=True)
        self.assertEqual((done.returncode, done.stderr.decode()), (REFUSED, f"loom: {lines}\n"))

    def test_missing_credentials_name_the_option(self):
        self.answer("GET", "/services", 401, error("unauthorized", "credentials are missing"))
        _, err = self.loom("services", code=REFUSED)
        self.assertIn("--token-file", err)

    def test_answers_that_loomd_would_not_give_end_in_a_sentence(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        for name, document, want in (
            ("no JSON", b"<html>", "it is no JSON"),
            ("nothing", b"", "it is no JSON"),
            ("cut JSON", b'{"services": [', "it is no JSON"),
            ("an array", b"[]", "it is JSON, but no object"),
            ("a doubled member", b'{"services": [], "services": []}', "it is no JSON"),
            ("bad UTF-8", b'{"services": ["\xff"]}', "it is no JSON"),
            ("a number without end", b'{"services": ' + b"9" * 400 + b"}", "it is no JSON"),
            ("too deep", b'{"services": ' + b"[" * 100000, "it is no JSON"),
            ("no member", b"{}", "'services' should be an array"),
            ("an object for an array", b'{"services": {}}', "'services' should be an array"),
            ("texts for objects", b'{"services": ["a"]}', "should be an array"),
            ("a number for a text", b'{"services": [{"addresses": [1]}]}', "should be an array of texts"),
            ("cut in the body", Raw(head + b"Content-Length: 100\r\n\r\n{"), "cannot read loomd's answer"),
            ("cut in a chunk", Raw(head + b"Transfer-Encoding: chunked\r\n\r\n99\r\n{"), "cannot read loomd's answer"),
            ("cut in the head", Raw(head), "cannot read"),
            ("another protocol", Raw(b"SSH-2.0-OpenSSH_9.2\r\n" * 3), "cannot read loomd's answer"),
            ("headers without end", Raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 400000 + b"\r\n\r\n"),
             "cannot read loomd's answer"),
            ("a redirect", Raw(b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n"),
             "answered status 302"),
        ):
            with self.subTest(name):
                self.answer("GET", "/services", 200, document)
                out, err = self.loom("services", code=REFUSED)
                self.assertIn(want, err)
                self.assertEqual(out, "")

    def test_errors_in_no_form_we_know_are_told_by_their_status(self):
        for document in (b"", b"<html>", [], {"error": "no"}, {"error": {"message": 5}}, {"error": {"message": ""}}):
            with self.subTest(document):
                self.answer("GET", "/services", 500, document)
                _, err = self.loom("services", code=REFUSED)
                self.assertIn("loomd answered status 500 without a reason", err)

    def test_an_answer_without_end_is_cut_off(self):
        self.answer("GET", "/services", 200, b" " * ((32 << 20) + 1))
        _, err = self.loom("services", code=REFUSED)
        self.assertIn("longer than 32 MiB", err)

    def test_every_member_of_a_wrong_type_ends_in_a_sentence(self):
        def mutations(value, set_value):
            for wrong in (None, -1, "x", [], {}, True, [None], 1.5):
                if type(wrong) is not type(value):
                    yield wrong, set_value
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, inner in items:
                yield from mutations(inner, lambda new, key=key: set_value(self.with_item(value, key, new)))

        for args, path, verb in ((["stats"], "/ebpf/stats", "GET"), (["backends"], "/ebpf/backends", "GET"),
                                 (["backends"], "/ebpf/backends/stats", "GET"), (["conns"], "/ebpf/connections", "GET"),
                                 (["services"], "/services", "GET"), (["status"], "/ebpf/stats", "GET"),
                                 (["reload"], "/config/reload", "POST"),
                                 (["backends", "drain", "1"], "/ebpf/backends/1", "PATCH")):
            status, good = self.loomd.answers[(verb, path)]
            for wrong, set_value in mutations(good, lambda new: new):
                document = set_value(wrong)
                with self.subTest(args=args, document=str(document)[:200]):
                    self.answer(verb, path, status, document)
                    done = subprocess.run([LOOM, "--socket", self.socket, *args], env=ENVIRONMENT,
                                          capture_output=True, timeout=60)
                    self.assertIn(done.returncode, (OK, REFUSED), done)
                    self.assertEqual(done.returncode == OK, not done.stderr, done)
            self.loomd.reset()

    @staticmethod
    def with_item(container, key, new):
        copy = container.copy()
        copy[key] = new
        return copy

    def test_a_loomd_that_is_not_there_is_named_with_what_to_do(self):
        missing = os.path.join(self.folder.name, "gone")
        _, err = self.loom("--socket", missing, "status", code=UNREACHABLE, socket=False)
        self.assertIn(f"cannot reach loomd at {missing}: No such file or directory; start loomd", err)
        _, err = self.loom("--url", "http://u:secret@127.0.0.1:1/", "status", code=UNREACHABLE, socket=False)
        self.assertIn("cannot reach loomd at http://127.0.0.1:1/: Connection refused", err)
        self.assertNotIn("secret", err)
        _, err = self.loom("--instance", "no-such", "status", code=UNREACHABLE, socket=False)
        self.assertIn("/run/loom/no-such.sock", err)

    def test_a_loomd_that_hangs_up_is_not_reached(self):
        self.answer("GET", "/services", 200, Raw(b""))
        _, err = self.loom("services", code=UNREACHABLE)
        self.assertIn(f"cannot reach loomd at {self.socket}", err)

    def test_output_that_cannot_be_written_is_an_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([LOOM, "--socket", self.socket, "services"], env=ENVIRONMENT, stdout=full,
                                  stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, REFUSED)
        self.assertIn(b"cannot write to standard output", done.stderr)


class Usage(Case):
    def test_a_command_line_without_sense_sends_nothing(self):
        long = os.path.join("/", "x" * 108)
        for args, want in (
            (["bogus"], "there is no such verb"),
            (["backends", "bogus"], "one argument too many"),
            (["status", "--bogus"], "no such option"),
            (["--bogus", "status"], "no such option"),
            (["reload", "--watch"], "cannot watch 'reload'"),
            (["backends", "rm"], "it needs ID"),
            (["backends", "rm", "0"], "no whole number"),
            (["backends", "rm", "4294967296"], "no whole number"),
            (["backends", "rm", "1", "2"], "too many"),
            (["backends", "weight", "1"], "it needs ID N"),
            (["backends", "weight", "1", "65536"], "no whole number from 0 to 65535"),
            (["backends", "weight", "x", "1"], "no whole number"),
            (["backends", "add", "10.0.0.1"], "ADDRESS:PORT"),
            (["backends", "add", "::1:80"], "no address"),
            (["conns", "--limit", "0"], "no whole number"),
            (["conns", "--limit", "5", "--all"], "leave one out"),
            (["conns", "--watch", "--all"], "use --limit"),
            (["stats", "--watch=0"], "number of seconds"),
            (["--socket"], "PATH is missing"),
            (["--instance", "../x", "status"], "as instance"),
            (["--socket", long, "status"], "as socket"),
            (["--url", "file:///etc/passwd", "status"], "none of the form"),
            (["--url", "http://x:99999999", "status"], "none of the form"),
            (["--url", "http://127.0.0.1:1", "--socket", "x", "status"], "leave one out"),
            (["help", "bogus"], "no such verb"),
        ):
            with self.subTest(args):
                _, err = self.loom(*args, code=USAGE, socket="--url" not in args)
                self.assertIn(want, err)
        self.assertEqual(self.loomd.requests, [])

    def test_without_a_verb_help_goes_to_standard_error(self):
        done = subprocess.run([LOOM], env=ENVIRONMENT, capture_output=True)
        self.assertEqual((done.returncode, done.stdout), (USAGE, b""))
        self.assertIn(b"usage: loom", done.stderr)

    def test_help_and_version_need_no_loomd(self):
        for args, want in ((["--version"], "loom "), (["help"], "backends rm ID"), (["--help"], "backends rm ID"),
                           (["help", "backends", "rm"], "--deadline TIME"), (["backends", "rm", "-h"], "--force"),
                           (["help", "conns"], "--client CIDR")):
            out, _ = self.loom(*args, socket=False)
            self.assertIn(want, out)


class Removal(Case):
    def test_wait_returns_when_the_backend_has_gone_and_tells_what_it_waits_for(self):
        lists = iter([[dict(BACKENDS[0], state="removed", connections_active=2, deadline_seconds=9)],
                      [dict(BACKENDS[0], state="reset", connections_active=0)], [BACKENDS[1]]])
        self.loomd.answers[("GET", "/ebpf/backends")] = lambda handler: (200, {"backends": next(lists)})
        out, err = self.loom("backends", "rm", "1", "--wait")
        self.assertEqual(out, "backend 1 has gone\n")
        self.assertEqual(err, "backend 1: 2 connections left, cut in 9s\nbackend 1: 0 connections left\n")

    def test_wait_ends_when_another_took_the_id(self):
        self.answer("GET", "/ebpf/backends", 200, {"backends": [BACKENDS[0]]})
        self.assertEqual(self.loom("backends", "rm", "1", "--wait")[0], "backend 1 has gone\n")

    def test_wait_does_not_wait_for_what_was_refused(self):
        self.answer("DELETE", "/ebpf/backends/1", 404, error("not_found", "there is no backend 1"))
        self.loom("backends", "rm", "1", "--wait", code=REFUSED)
        self.assertEqual(len(self.loomd.requests), 1)

    def test_wait_fails_when_loomd_does(self):
        self.answer("GET", "/ebpf/backends", 500, error("internal", "the kernel refused"))
        _, err = self.loom("backends", "rm", "1", "--wait", code=REFUSED)
        self.assertEqual(err, "loom: the kernel refused\n")

    def test_force_says_that_connections_are_cut(self):
        self.answer("DELETE", "/ebpf/backends/1", 200, dict(BACKENDS[0], state="reset"))
        self.assertIn("its connections are cut", self.loom("backends", "rm", "1", "--force")[0])


class Terminal:
    """loom on a pseudo-terminal of its own."""

    def __init__(self, case, *args, **environment):
        self.out = b""
        self.deadline = time.monotonic() + 20
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(LOOM, [LOOM, "--socket", case.socket, *args], {**ENVIRONMENT, **environment})
        case.addCleanup(self.close)

    def close(self):
        """Ends a loom that a failed test left running."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]
            os.close(self.fd)

    def read_some(self):
        left = self.deadline - time.monotonic()
        if left < 0 or not select.select([self.fd], [], [], left)[0]:
            raise AssertionError(f"in 20 seconds nothing else came than {self.out[-2000:]!r}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other side has closed
            data = b""
        self.out += data
        return data

    def read_until(self, text, count=1):
        while self.out.count(text) < count:
            if not self.read_some():
                raise AssertionError(f"ended without {text!r}: {self.out!r}")

    def read_all(self):
        while self.read_some():
            pass
        self.status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return self.out


class Watch(Case):
    def growing(self):
        def stats(handler):
            count = sum(r[1] == "/ebpf/stats" for r in self.loomd.requests)
            return 200, dict(STATS, packets={"forward": 1000000 * count, "drop": 0, "pass": 0})
        self.loomd.answers[("GET", "/ebpf/stats")] = stats

    def test_the_screen_is_restored_by_whatever_ends_it(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT):
            with self.subTest(number):
                terminal = Terminal(self, "backends", "--watch=0.1")
                terminal.read_until(b"active", 2)
                os.kill(terminal.pid, number)
                out = terminal.read_all()
                self.assertEqual(os.WTERMSIG(terminal.status), number)
                self.assertEqual((out.count(ENTER), out.count(LEAVE)), (1, 1))
                self.assertGreater(out.index(LEAVE), out.rindex(b"active"))
                self.assertIn(b"\033[?25h", out)

    def test_control_c_at_the_keyboard_ends_it(self):
        terminal = Terminal(self, "stats", "-w")
        terminal.read_until(b"no_route")
        os.write(terminal.fd, b"\003")
        self.assertTrue(terminal.read_all().endswith(LEAVE))

    def test_sums_become_rates(self):
        self.growing()
        terminal = Terminal(self, "status", "--watch=0.2")
        terminal.read_until(b"1.0 M forwarded")
        terminal.read_until(b"Mpps forwarded")
        os.kill(terminal.pid, signal.SIGINT)
        terminal.read_all()

    def test_a_failure_is_shown_and_tried_again(self):
        terminal = Terminal(self, "services", "--watch=0.1")
        terminal.read_until(b"maglev")
        self.answer("GET", "/services", 500, error("internal", "away for a while"))
        terminal.read_until(b"away for a while")
        before = terminal.out.count(b"maglev")
        self.answer("GET", "/services", 200, {"services": [dict(self.loomd_service(), name="back")]})
        terminal.read_until(b"maglev", before + 1)
        os.kill(terminal.pid, signal.SIGINT)
        terminal.read_all()

    @staticmethod
    def loomd_service():
        from fake_loomd import SERVICES
        return SERVICES["services"][0]

    def test_the_first_reading_must_succeed_and_leaves_the_screen_alone(self):
        self.answer("GET", "/services", 500, error("internal", "broken"))
        terminal = Terminal(self, "services", "--watch")
        self.assertNotIn(ENTER, terminal.read_all())
        self.assertEqual(os.WEXITSTATUS(terminal.status), REFUSED)

    def test_elsewhere_readings_are_appended(self):
        watch = subprocess.Popen([LOOM, "--socket", self.socket, "backends", "--watch=0.1", "--json"],
                                 env=ENVIRONMENT, stdout=subprocess.PIPE)
        lines = [json.loads(watch.stdout.readline()) for _ in range(3)]
        watch.send_signal(signal.SIGINT)
        self.assertEqual(watch.wait(), -signal.SIGINT)
        watch.stdout.close()
        self.assertEqual(lines[0], lines[2])

    def test_colours_are_for_terminals_that_want_them(self):
        red = b"\033[31m"
        self.assertIn(red, Terminal(self, "stats").read_all())
        self.assertNotIn(red, Terminal(self, "stats", NO_COLOR="1").read_all())
        self.assertNotIn(red, Terminal(self, "stats", TERM="dumb").read_all())
        self.assertNotIn("\033", self.loom("stats")[0])


class Documents(Case):
    def words(self):
        """Every verb and option the binary knows."""
        verbs = [line.split("  ")[1] for line in self.loom("help", socket=False)[0].split("Verbs:\n")[1]
                 .split("\n\n")[0].splitlines()]
        names = [" ".join(w for w in v.split() if w.islower()) for v in verbs]
        helps = {n: self.loom("help", *n.split(), socket=False)[0] for n in names}
        options = {n: [w.strip(",").partition("[")[0] for w in text.split("Options")[1:] for w in w.split()
                       if w.startswith("--")] for n, text in helps.items()}
        return names, options

    def test_the_manual_knows_every_verb_and_option(self):
        manual = "".join((SOURCE / "docs/man" / name).read_text() for name in ("loom.1", "loom-decap.8", "loom-steer.8", "loom-exec.8"))
        names, options = self.words()
        self.assertIn("backends undrain", names)
        for name in names:
            self.assertIn(f".It Cm {name}", manual)
        for option in {o for each in options.values() for o in each}:
            self.assertIn(f"-{option.lstrip('-')}", manual)

    def complete(self, *words):
        script = (f'source "{SOURCE}/etc/completion/loom.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _loom; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script, "bash", LOOM, *words], env=ENVIRONMENT, capture_output=True,
                              check=True, timeout=60)
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode().split()

    def test_completion_knows_every_verb_and_option(self):
        names, options = self.words()
        for name in names:
            before, _, last = f" {name}".rpartition(" ")
            self.assertIn(last, self.complete(*before.split(), last))
            if name != "help":
                self.assertLessEqual({o for o in options[name] if o != "--watch"},
                                     set(self.complete(*name.split(), "--")), name)

    def test_completion_asks_loomd_for_ids_and_services(self):
        where = ["--socket", self.socket]
        self.assertEqual(self.complete(*where, "backends", "rm", ""), ["1", "2"])
        self.assertEqual(self.complete(*where, "backends", "weight", "2"), ["2"])
        self.assertEqual(self.complete(*where, "conns", "--backend", ""), ["1", "2"])
        self.assertEqual(self.complete(*where, "backends", "add", "--service", ""), ["default"])
        self.assertEqual(self.complete("--socket", "/nonexistent", "backends", "rm", ""), [])


if __name__ == "__main__":
    unittest.main()
