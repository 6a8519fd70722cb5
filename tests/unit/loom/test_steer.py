#!/usr/bin/env python3
"""'loom steer' against a real HTTP server on a UNIX socket, and against pins on a BPF filesystem of its own."""
import fcntl
import io
import json
import os
import pathlib
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import termios
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from fake_loomd import (AUDIT, CAPABILITIES, DECISION, EXPLANATION, HISTORY, error, steer_group,  # noqa: E402
                        steer_member)
from test_loom_cli import (ENTER, ENVIRONMENT, LEAVE, LOOM, OK, REFUSED, UNREACHABLE, USAGE, Case,  # noqa: E402
                           Terminal)

GROUP = "/steer/groups/dns"
END = {"event": "end", "why": "duration", "seen": 9, "matched": 1, "sent": 1, "lost": 0}
STUCK = steer_member(1, stuck=True, queue=212992, queue_age_ns=30_000_000_000, drops=17)


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Steer(Case):
    def steer(self, *args, **more):
        return self.loom("steer", *args, **more)

    def group(self, **more):
        """From now on the group is so."""
        self.answer("GET", GROUP, 200, steer_group(**more))
        self.answer("GET", "/steer/groups", 200, {"groups": [steer_group(**more)]})


class Requests(Steer):
    def test_each_verb_sends_what_the_api_wants(self):
        for args, action, body in (
            ("attach dns", "attach", {}),
            ("detach dns", "detach", {}),
            ("freeze dns", "freeze", {}),
            ("unfreeze dns", "unfreeze", {}),
            ("fallback dns", "fallback", {}),
            ("fallback dns --reason night", "fallback", {"reason": "night"}),
            ("resume dns --reason day", "resume", {"reason": "day"}),
            ("policy dns weighted", "policy", {"name": "weighted"}),
            ("policy dns bytes --offset 4 --length 2 --shift 3 --mask 255", "policy",
             {"name": "bytes", "offset": 4, "length": 2, "shift": 3, "mask": 255}),
            ("policy dns generation --flow-timeout 5m --max-flows 100", "policy",
             {"name": "generation", "flow_timeout": "5m", "max_flows": 100}),
            ("policy dns wireguard --max-indices 64", "policy", {"name": "wireguard", "max_indices": 64}),
            ("rollout dns shadow", "rollout", {"state": "shadow"}),
            ("rollout dns canary --canary 50 --reason why", "rollout",
             {"state": "canary", "canary_permille": 50, "reason": "why"}),
            ("rollout dns next --force", "rollout", {"state": "next", "force": True}),
            ("drain dns 3", "drain", {"member": {"slot": 3}}),
            ("drain dns id:12 --deadline 30s", "drain", {"member": {"id": 12}, "deadline": "30s"}),
            ("undrain dns pid:4711", "undrain", {"member": {"pid": 4711}}),
            ("swap dns", "swap", {}),
            ("swap dns --from gen:2 --to unit:nginx.service --deadline 1m", "swap",
             {"from": {"generation": 2}, "to": {"unit": "nginx.service"}, "deadline": "1m"}),
            ("weight dns slot:255 65535", "weight", {"member": {"slot": 255}, "weight": 65535}),
        ):
            with self.subTest(args):
                self.loomd.requests.clear()
                out, _ = self.steer(*args.split())
                self.assertEqual(self.loomd.requests, [("POST", f"{GROUP}/{action}", body)])
                self.assertEqual(out, "dns: canary 100\u2030, weighted, attached, 2 members\n")

    def test_questions_are_asked_as_the_api_wants(self):
        self.answer("GET", GROUP + "/trace", 200, lines(END))
        for args, want in (
            ("list", "/steer/groups"), ("show dns", GROUP), ("watch dns --count 1", GROUP),
            ("audit dns", GROUP + "/audit"), ("history dns", GROUP + "/history"),
            ("capabilities", "/steer/capabilities"),
            ("explain dns 10.0.0.7:4711", GROUP + "/explain?source=10.0.0.7&port=4711"),
            ("explain dns [::1]:4711 --payload 04ff --destination 10.0.0.1 --cpu 3",
             GROUP + "/explain?source=%3A%3A1&port=4711&payload=04ff&destination=10.0.0.1&cpu=3"),
            ("trace dns", GROUP + "/trace"),
            ("trace dns --duration 5s --source ::1 --port 53 --sample 10 --count 7",
             GROUP + "/trace?duration=5s&source=%3A%3A1&port=53&sample=10&limit=7"),
        ):
            with self.subTest(args):
                self.loomd.requests.clear()
                self.steer(*args.split())
                self.assertEqual(self.loomd.requests, [("GET", want, None)])

    def test_a_command_line_without_sense_sends_nothing(self):
        for args, want in (
            ("rollout dns up", "cannot go to 'up'"),
            ("rollout dns next --canary 5", "say 'canary'"),
            ("rollout dns canary --canary 1000", "no whole number"),
            ("drain dns 256", "as member"),
            ("drain dns pid:", "as member"),
            ("drain dns gen:0", "as member"),
            ("drain dns unit:", "as member"),
            ("drain dns tid:3", "as member"),
            ("swap dns --from 1 --to x", "as member"),
            ("weight dns 3 65536", "no whole number"),
            ("weight dns 3", "it needs GROUP MEMBER N"),
            ("explain dns 10.0.0.7", "as flow"),
            ("explain dns 10.0.0.7:53 --payload 0g", "as payload"),
            ("explain dns 10.0.0.7:53 --payload 040", "as payload"),
            ("explain dns 10.0.0.7:53 --payload " + "00" * 65, "as payload"),
            ("explain dns 10.0.0.7:53 --destination here", "as destination"),
            ("fallback dns --direct --reason x", "cannot use --reason"),
            ("fallback dns --pin-path /x", "leave it out"),
            ("list --pin-path /x", "leave it out"),
            ("policy dns", "it needs GROUP POLICY"),
        ):
            with self.subTest(args):
                _, err = self.steer(*args.split(), code=USAGE)
                self.assertIn(want, err)
        self.assertEqual(self.loomd.requests, [])

    def test_a_refusal_is_told_whole(self):
        self.answer("POST", GROUP + "/rollout", 409, error("not_yet", "cannot go on: 12s of the soak time are left"))
        self.assertEqual(self.steer("rollout", "dns", "next", code=REFUSED)[1],
                         "loom: cannot go on: 12s of the soak time are left\n")

    def test_a_change_that_could_not_be_read_back_is_done(self):
        self.answer("POST", GROUP + "/attach", 200, {"name": "dns", "unread": "cannot read the group: gone"})
        self.assertEqual(self.steer("attach", "dns")[0], "done, but cannot read the group: gone\n")

    def test_json_is_the_apis(self):
        self.assertEqual(json.loads(self.steer("show", "dns", "--json")[0]), steer_group())
        self.assertEqual(json.loads(self.steer("list", "--json")[0]), {"groups": [steer_group()]})
        self.assertEqual(json.loads(self.steer("drain", "dns", "1", "--json")[0]), steer_group())
        self.assertEqual(json.loads(self.steer("audit", "dns", "--json")[0]), AUDIT)
        self.assertEqual(json.loads(self.steer("history", "dns", "--json")[0]), HISTORY)
        self.assertEqual(json.loads(self.steer("capabilities", "--json")[0]), CAPABILITIES)
        self.assertEqual(json.loads(self.steer("explain", "dns", "1.1.1.1:1", "--json")[0]), EXPLANATION)

    def test_a_dead_daemon_is_answered_with_the_way_around_it(self):
        _, err = self.loom("--socket", "/nonexistent", "steer", "fallback", "dns", socket=False, code=UNREACHABLE)
        self.assertIn("loom steer fallback dns --direct", err)


class Output(Steer):
    def test_list_shows_the_worst(self):
        self.group(members=[steer_member(0), STUCK], reverted=True, state="shadow")
        rows = self.rows(self.steer("list")[0])
        self.assertEqual(rows[1][:4], ["dns", "udp", "0.0.0.0:53", "weighted"])
        self.assertIn("slot 1 (unbound, pid 4712) is stuck", " ".join(rows[1]))
        self.answer("GET", "/steer/groups", 200, {"groups": []})
        self.assertIn("no groups", self.steer("list")[0])

    def test_show_says_what_is_odd_and_what_to_do(self):
        """One row per oddity: how the group is, what is said, what is to be done."""
        for more, want, remedy in (
            ({"members": [STUCK]}, "212992 of 212992 wait in its queue, which has not moved for 30s",
             "loom steer drain dns id:11"),
            ({"members": [STUCK]}, "has dropped 17 datagrams", ""),
            ({"protocol": "tcp", "members": [STUCK]}, "has dropped 17 connections", ""),
            ({"members": [steer_member(0, queue=200000)]}, "it is slower than what comes",
             "loom steer weight dns id:10 50"),
            ({"members": []}, "nobody listens on udp 0.0.0.0:53", "ss -uanpe 'sport = :53'"),
            ({"members": [], "protocol": "tcp"}, "nobody listens on tcp", "ss -tlnpe 'sport = :53'"),
            ({"members": [steer_member(0, state="draining")]}, "no member may get anything new", "undrain"),
            ({"program": 77}, "a foreign program is attached to the group: id 77", "bpftool prog show id 77"),
            ({"program": None, "attached": False}, "no program is attached, although the state is canary",
             "loom steer attach dns"),
            ({"reverted": True}, "the guard took it back (soaked)", "--force"),
            ({"fallback": True, "attached": False, "program": None}, "it is in fallback (soaked by operator)",
             "loom steer resume dns"),
            ({"frozen": True}, "it is frozen", "loom steer unfreeze dns"),
            ({"held_back": "12s of soak"}, "it does not go forward: 12s of soak", ""),
            ({"exact": False}, "the kernel's choice is not known exactly", ""),
            ({"max_over_mean_permille": 3100}, "one member gets 3.1 times the mean", ""),
            ({"counters": {"selected": 9000, "slot_empty": 1000}}, "10.0% of what the policy should have chosen", "trace"),
            ({"probe_failures": 3}, "3 probes have failed", ""),
            ({"members": [steer_member(0), steer_member(1, state="quarantined")]}, "is quarantined since 1h 0m",
             "loom steer swap dns --to id:11"),
            ({"members": [steer_member(0), steer_member(1, source=None)]}, "no members entry", "/proc/4712/exe"),
            ({"members": [steer_member(0), steer_member(1, rate=0, kernel={"packets": 1, "bytes": 1},
                                                        selected={"packets": 0, "bytes": 0})]},
             "gets next to nothing", "loom steer trace dns"),
        ):
            with self.subTest(want):
                self.group(**more)
                found = [line for line in self.steer("show", "dns")[0].splitlines() if want in line]
                self.assertEqual(len(found), 1, want)
                self.assertIn(remedy, found[0])

    def test_a_group_with_nothing_odd_says_nothing_of_it(self):
        self.assertNotIn("ODD  ", self.steer("show", "dns")[0].replace("RATE  ODD", ""))
        self.assertNotIn("WHAT TO DO", self.steer("show", "dns")[0])

    def test_a_few_flows_a_second_are_never_even_and_that_is_not_odd(self):
        self.group(max_over_mean_permille=3100, members=[steer_member(0, rate=5), steer_member(1, rate=1)])
        self.assertNotIn("times the mean", self.steer("show", "dns")[0])

    def test_what_clients_feel_comes_before_what_is_worth_knowing(self):
        self.group(frozen=True, reverted=True, members=[STUCK])
        out = self.steer("show", "dns")[0]
        self.assertLess(out.index("is stuck"), out.index("the guard took it back"))
        self.assertLess(out.index("has dropped"), out.index("it is frozen"))

    def test_both_families_and_ipv6_are_written(self):
        for address, want in (("*", "udp *:53"), ("::", "udp [::]:53"), ("2001:db8::1", "udp [2001:db8::1]:53")):
            self.group(address=address)
            self.assertIn(want, self.steer("show", "dns")[0])

    def test_foreign_text_cannot_reach_the_terminal(self):
        self.group(members=[steer_member(0, comm="\033[2Jx", stuck=True)], held_back="\033]0;x\007")
        self.answer("GET", GROUP + "/audit", 200,
                    {"group": "dns", "transitions": [{"at": 1, "from": "\033c", "to": "b", "actor": "c",
                                                      "reason": "\u202e"}]})
        for args in ("list", "show dns", "watch dns --count 1", "audit dns", "drain dns 1"):
            out, err = self.steer(*args.split())
            self.assertNotIn("\033", out + err)
            self.assertNotIn("\u202e", out + err)

    def test_what_was(self):
        rows = self.rows(self.steer("audit", "dns")[0])
        self.assertEqual(rows[2][2:6], ["canary", "shadow", "guard", "imbalance"])
        self.assertIn("rule=imbalance, value=3100", " ".join(rows[2]))
        self.assertEqual(self.rows(self.steer("history", "dns")[0])[1:3],
                         [["slot", "0", "id", "10", "rate", "3", "0", "10", "20", "20"],
                          ["slot", "0", "id", "10", "queue", "3", "0", "1", "2", "2"]])
        rows = self.rows(self.steer("capabilities")[0])
        self.assertIn(["policies", "least_loaded", "no", "CAP_PERFMON"], rows)
        self.assertIn(["rights", "CAP_BPF", "yes"], rows)
        self.assertIn(["kernel", "6.18"], rows)

    def test_explain_tells_three_kinds_of_answers(self):
        self.assertIn("slot  3", self.steer("explain", "dns", "1.1.1.1:1")[0])
        for answer, want in (({"slot": None}, "the kernel's hash decides"),
                             ({"known": False, "slot": None}, "only a packet can tell")):
            self.answer("GET", GROUP + "/explain", 200, {**EXPLANATION, **answer})
            self.assertIn(want, self.steer("explain", "dns", "1.1.1.1:1")[0])

    def test_a_line_a_decision(self):
        self.answer("GET", GROUP + "/trace", 200, lines(DECISION, {"event": "of a later version"}, {**END, "lost": 4}))
        out, err = self.steer("trace", "dns")
        self.assertEqual(self.rows(out)[1][1:], ["10.9.0.2:40000", "10.0.0.1:53", "1", "3", "-", "canary", "selected",
                                                 "60"])
        self.assertEqual(err, "loom: 1 decision; 4 more were lost: use --source or --sample\n")
        out, err = self.steer("trace", "dns", "--json")
        self.assertEqual(json.loads(out.splitlines()[0]), DECISION)

    def test_every_member_of_a_wrong_type_ends_in_a_sentence(self):
        def mutations(value, put):
            for wrong in (None, -1, "x", [], {}, True, 1.5):
                if type(wrong) is not type(value):
                    yield wrong, put
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for key, inner in items:
                yield from mutations(inner, lambda new, key=key: put(self.with_item(value, key, new)))

        good = steer_group(members=[steer_member(0)])
        for wrong, put in mutations(good, lambda new: new):
            document = put(wrong)
            with self.subTest(document=str(document)[:300]):
                self.answer("GET", GROUP, 200, document)
                done = subprocess.run([LOOM, "--socket", self.socket, "steer", "show", "dns"], env=ENVIRONMENT,
                                      capture_output=True, timeout=60)
                self.assertIn(done.returncode, (OK, REFUSED), done)
                self.assertEqual(done.returncode == OK, not done.stderr, done)

    @staticmethod
    def with_item(container, key, new):
        changed = container.copy()
        changed[key] = new
        return changed


class Screen(Terminal):
    """A terminal of a size of its own, whose keyboard's state can be asked."""

    def __init__(self, case, *args, rows=40, columns=140):
        super().__init__(case, *args)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def flags(self):
        return termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def frame(self):
        """The last whole frame, as lines."""
        return self.out.rpartition(b"\033[J")[0].rpartition(b"\033[H")[2].decode().replace("\033[K", "").splitlines()


class Watch(Steer):
    def growing(self, step=(10, 30)):
        """Each reading finds each member to have got more."""
        def answer(handler):
            n = sum(r[1] == GROUP for r in self.loomd.requests)
            return 200, steer_group(members=[
                steer_member(slot, kernel={"packets": 1000 * step[slot] * n, "bytes": 0}) for slot in (0, 1)])
        self.loomd.answers[("GET", GROUP)] = answer

    def test_q_and_control_c_end_it_well_and_the_keyboard_is_as_before(self):
        for key in (b"q", b"\003"):
            with self.subTest(key):
                screen = Screen(self, "steer", "watch", "dns", "--interval=0.1")
                before = screen.flags()
                screen.read_until(b"SHARE", 2)
                self.assertEqual(screen.flags(), 0)
                os.write(screen.fd, key)
                screen.read_until(LEAVE)
                self.assertEqual(screen.flags(), before)
                out = screen.read_all()
                self.assertEqual((out.count(ENTER), out.count(LEAVE)), (1, 1))
                self.assertEqual(os.waitstatus_to_exitcode(screen.status), 0)

    def test_a_signal_gives_the_keyboard_back(self):
        screen = Screen(self, "steer", "watch", "dns", "--interval=0.1")
        before = screen.flags()
        screen.read_until(b"SHARE", 2)
        os.kill(screen.pid, signal.SIGTERM)
        screen.read_until(LEAVE)
        self.assertEqual(screen.flags(), before)
        screen.read_all()
        self.assertEqual(os.WTERMSIG(screen.status), signal.SIGTERM)

    def test_rates_become_bars_of_each_ones_share(self):
        self.growing()
        screen = Screen(self, "steer", "watch", "dns", "--interval=0.1")
        screen.read_until(b"SHARE", 3)
        rows = [line for line in screen.frame() if "unbound" in line]
        self.assertEqual([row.count("\u2588") for row in rows], [16, 48])
        self.assertIn("25.0%", rows[0])
        self.assertIn("75.0%", rows[1])
        self.assertTrue(any("canary 100\u2030" in line for line in screen.frame()))
        self.assertTrue(any("last: shadow to canary by operator" in line for line in screen.frame()))
        os.write(screen.fd, b"q")
        screen.read_all()

    def test_a_narrow_terminal_gets_short_bars(self):
        self.growing()
        screen = Screen(self, "steer", "watch", "dns", "--interval=0.1", rows=24, columns=80)
        screen.read_until(b"SHARE", 3)
        self.assertEqual([line.count("\u2588") for line in screen.frame() if "unbound" in line][1], 8)
        os.write(screen.fd, b"q")
        screen.read_all()

    def test_a_frame_is_never_higher_than_the_terminal(self):
        self.group(members=[steer_member(slot) for slot in range(60)])
        screen = Screen(self, "steer", "watch", "dns", "--interval=0.1", rows=10)
        screen.read_until(b"SHARE", 3)
        self.assertEqual(len(screen.frame()), 10)
        os.write(screen.fd, b"q")
        screen.read_all()

    def test_a_failure_is_shown_and_tried_again(self):
        screen = Screen(self, "steer", "watch", "dns", "--interval=0.1")
        screen.read_until(b"SHARE", 2)
        self.answer("GET", GROUP, 500, error("internal", "away for a while"))
        screen.read_until(b"away for a while")
        screen.read_until(b"fallback dns --direct")
        before = screen.out.count(b"SHARE")
        self.group()
        screen.read_until(b"SHARE", before + 1)
        os.write(screen.fd, b"q")
        screen.read_all()

    def test_foreign_text_cannot_reach_the_screen(self):
        self.group(last={"at": 1700000000, "from": "a", "to": "b", "actor": "c", "reason": "\033[31mred"})
        screen = Screen(self, "steer", "watch", "dns", "--interval=0.1")
        screen.read_until(b"\\x1b[31mred")
        os.write(screen.fd, b"q")
        screen.read_all()

    def test_a_group_that_is_not_there_leaves_the_screen_alone(self):
        screen = Screen(self, "steer", "watch", "nobody")
        self.assertNotIn(ENTER, screen.read_all())
        self.assertEqual(os.WEXITSTATUS(screen.status), REFUSED)

    def test_elsewhere_each_reading_is_a_line(self):
        self.group(members=[steer_member(0), STUCK])
        out, _ = self.steer("watch", "dns", "--interval=0.1", "--count", "3")
        self.assertEqual(len(out.splitlines()), 3)
        self.assertIn("canary 100\u2030  all 100 /s", out.splitlines()[0])
        self.assertIn("1:50 /s(stuck)", out.splitlines()[0])
        out, _ = self.steer("watch", "dns", "--interval=0.1", "--count", "2", "--json")
        self.assertEqual([json.loads(line)["name"] for line in out.splitlines()], ["dns", "dns"])


class Incident(Steer):
    FILES = ["00-report.txt", "group.json", "audit.json", "history.json", "capabilities.json", "programs.json",
             "kernel.txt", "sockets.txt"]

    def incident(self, *args, group="dns", **more):
        path = os.path.join(self.folder.name, "i.tar.gz")
        out, err = self.steer("incident", group, "-o", path, "--pin-path", self.folder.name, "--state-dir",
                              self.folder.name, *args, **more)
        return path, out, err

    def read(self, path):
        with tarfile.open(path, "r:gz") as archive:
            self.assertTrue(all(m.isfile() and m.mode == 0o600 for m in archive.getmembers()))
            return {os.path.basename(m.name): archive.extractfile(m).read() for m in archive.getmembers()}

    def test_all_that_is_known_is_in_it_and_the_report_comes_first(self):
        self.group(members=[steer_member(0), STUCK], reverted=True, state="shadow", program=77)
        path, out, _ = self.incident()
        self.assertIn("00-report.txt first", out)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        files = self.read(path)
        self.assertEqual(list(files), self.FILES)
        self.assertEqual(json.loads(files["audit.json"]), AUDIT)
        self.assertEqual(json.loads(files["history.json"]), HISTORY)
        self.assertEqual(json.loads(files["capabilities.json"]), CAPABILITIES)
        self.assertEqual(json.loads(files["group.json"])["name"], "dns")
        report = files["00-report.txt"].decode()
        for text in ("shadow, reverted, since 1m 1s", "Moved from shadow to canary by operator",
                     "BAD      slot 1 (unbound, pid 4712) is stuck", "BAD      a foreign program", "stuck, drops",
                     "loom steer drain dns id:11", "slot 0 id 10       rate", "Plain Linux decides"):
            self.assertIn(text, report)
        self.assertIn(b"net/ipv4/tcp_migrate_req", files["kernel.txt"])
        self.assertIn(os.uname().release.encode(), files["kernel.txt"])

    def test_moves_of_the_last_minutes_are_told_with_their_numbers(self):
        now = int(subprocess.check_output(["date", "+%s"]))
        move = {**AUDIT["transitions"][1], "at": now - 60}
        self.answer("GET", GROUP + "/audit", 200, {"group": "dns", "transitions": [AUDIT["transitions"][0], move]})
        report = self.read(self.incident()[0])["00-report.txt"].decode()
        self.assertIn("canary -> shadow by guard: imbalance 3.1 over 2.0 (rule=imbalance, value=3100)", report)
        self.assertNotIn("shadow -> canary", report)

    def test_a_group_in_force_is_told_how_to_become_plain_linux(self):
        self.assertIn("loom steer fallback dns --reason incident",
                      self.read(self.incident()[0])["00-report.txt"].decode())

    def test_without_loomd_it_says_what_is_missing(self):
        log = pathlib.Path(self.folder.name, "default.audit.jsonl")
        log.write_text(json.dumps({"group": "web", "event": "moved", "at": "2026-01-01T00:00:00.000Z"}) + "\n" +
                       json.dumps({"group": "dns", "event": "moved", "from": "a", "to": "b", "actor": "guard",
                                   "reason": "r", "at": "2026-01-01T00:00:00.000Z"}) + "\n{cut")
        self.addCleanup(log.unlink)
        path = os.path.join(self.folder.name, "dead.tgz")
        out, _ = self.loom("--socket", "/nonexistent", "steer", "incident", "dns", "-o", path, "--pin-path",
                           self.folder.name, "--state-dir", self.folder.name, socket=False)
        self.assertIn("loomd did not answer", out)
        files = self.read(path)
        self.assertEqual(list(files), self.FILES)
        report = files["00-report.txt"].decode()
        for text in ("loomd cannot be asked: cannot reach loomd at /nonexistent", "loom steer fallback dns --direct",
                     "systemctl status loomd", "Last moved at", "a -> b by guard: r", "The kernel's side is unknown", "from loomd's file"):
            self.assertIn(text, report)
        self.assertEqual([t["to"] for t in json.loads(files["audit.json"])["transitions"]], ["b"])
        self.assertIn("cannot reach loomd", json.loads(files["group.json"])["error"])

    def test_the_sockets_on_the_port_are_listed_with_their_holder(self):
        import socket
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
            held.bind(("127.0.0.1", 0))
            self.group(port=held.getsockname()[1], members=[steer_member(0, pid=os.getpid())])
            text = self.read(self.incident()[0])["sockets.txt"].decode()
            self.assertRegex(text, rf"udp +127\.0\.0\.1:{held.getsockname()[1]} .*\({os.getpid()}\)")

    def test_a_group_that_nobody_knows_makes_no_file(self):
        path = os.path.join(self.folder.name, "none.tgz")
        _, err = self.steer("incident", "nobody", "-o", path, "--pin-path", self.folder.name, code=REFUSED)
        self.assertIn("no such route", err)
        self.assertFalse(os.path.exists(path))

    def test_a_file_that_cannot_be_written_is_an_error(self):
        for path, want in (("/nonexistent/x", "No such file"), ("/dev/full", "No space left")):
            _, err = self.steer("incident", "dns", "-o", path, code=REFUSED)
            self.assertIn(want, err)
        self.assertTrue(os.path.exists("/dev/full"))

    def test_standard_output_gets_the_archive_alone(self):
        done = subprocess.run([LOOM, "--socket", self.socket, "steer", "incident", "dns", "-o", "-"], env=ENVIRONMENT,
                              capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout), mode="r:gz") as archive:
            self.assertEqual(len(archive.getnames()), len(self.FILES))


class Doctor(Steer):
    def doctor(self, code):
        done = subprocess.run([LOOM, "--socket", self.socket, "doctor", "--json"], env=ENVIRONMENT,
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, code, done)
        return [f for f in json.loads(done.stdout) if f["check"] == "steering"]

    def test_groups_and_what_they_lack_are_found(self):
        self.group(policy="least_loaded", protocol="tcp", members=[], program=77)
        found = self.doctor(REFUSED)
        texts = " ".join(f["finding"] for f in found)
        for text in ("a foreign program", "no members", "CAP_PERFMON is missing",
                     "without it (the kernel's own choice, least_loaded): bpf_rdonly_cast (Linux 6.2) is missing"):
            self.assertIn(text, texts)
        self.assertIn("feature read_group", {f["subject"] for f in found})
        self.assertNotIn("feature migrate", {f["subject"] for f in found})
        self.assertIn("net.ipv4.tcp_migrate_req", {f["subject"] for f in found})

    def test_a_loomd_that_does_not_steer_is_no_finding(self):
        for method, path in list(self.loomd.answers):
            if path.startswith("/steer"):
                del self.loomd.answers[(method, path)]
        done = subprocess.run([LOOM, "--socket", self.socket, "doctor", "--json"], env=ENVIRONMENT,
                              capture_output=True)
        self.assertNotIn(b'"steering"', done.stdout)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("bpftool"), "needs root and bpftool")
class Pins(Steer):
    """Pins on a BPF filesystem of its own, in a mount namespace of its own."""

    CONTROL = 64
    FALLBACK, OBSERVE, SHADOW, CANARY, ENFORCED = range(5)

    def run_in(self, *commands):
        """Runs shell commands in a fresh mount namespace with a BPF filesystem at $P; returns all output."""
        mounted = os.path.join(self.folder.name, "bpf")
        os.makedirs(mounted, exist_ok=True)
        script = "\n".join(["set -e", f"P={mounted}", f"L='{LOOM}'", "mount --make-rprivate /",
                            "mount -t bpf bpf $P", *commands])
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=ENVIRONMENT, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    def control(self, path, mode, canary=0, version=1):
        """Commands that pin a control map."""
        words = struct.pack("<IIIIII", version, mode, canary, 0, 0, 0) + bytes(40)
        hexed = " ".join(f"{b:02x}" for b in words)
        return (f"mkdir -p $P/steer@default/{path}",
                f"bpftool map create $P/steer@default/{path}/control type array key 4 value 64 entries 1 name control "
                "flags 0x400",
                f"bpftool map update pinned $P/steer@default/{path}/control key 0 0 0 0 value hex {hexed}")

    def counters(self, path):
        """Each CPU selected slot 3 five times."""
        row = " ".join(f"{b:02x}" for b in struct.pack("<QQQQQQ", 0, 0, 5, 0, 0, 0))
        return (f"bpftool map create $P/steer@default/{path}/counters type percpu_array key 4 value 8 entries 22 "
                "name counters",
                f"bpftool map create $P/steer@default/{path}/members type percpu_array key 4 value 48 entries 257 "
                "name members",
                f"bpftool map update pinned $P/steer@default/{path}/members key 3 0 0 0 value hex {row}")

    def test_fallback_is_one_write_to_each_part(self):
        code, out = self.run_in(*self.control("dns/4", self.ENFORCED), *self.control("dns/6", self.CANARY),
                                "$L steer fallback dns --direct --pin-path $P",
                                *(f"bpftool map dump pinned $P/steer@default/dns/{part}/control" for part in (4, 6)))
        self.assertEqual(code, 0, out)
        self.assertIn("dns IPv4: mode fallback, was enforced", out)
        self.assertIn("dns IPv6: mode fallback, was canary", out)
        self.assertEqual(out.count("\n01 00 00 00 00 00 00 00"), 2, out)

    def test_it_needs_cap_bpf_alone(self):
        code, out = self.run_in(*self.control("dns/4", self.ENFORCED),
                                "setpriv --bounding-set=-all,+bpf --inh-caps=-all -- "
                                "$L steer fallback dns --direct --pin-path $P",
                                "! setpriv --bounding-set=-all --inh-caps=-all --reuid=65534 --clear-groups -- "
                                "$L steer fallback dns --direct --pin-path $P")
        self.assertEqual(code, 0, out)
        self.assertIn("mode fallback, was enforced", out)
        self.assertIn("it takes CAP_BPF and the right to enter the directory", out)

    def test_list_reads_the_pins(self):
        code, out = self.run_in(*self.control("dns/4", self.CANARY, canary=429496730), *self.counters("dns/4"),
                                *self.control("web", self.OBSERVE), "mkdir $P/steer@default/empty",
                                "$L steer list --direct --pin-path $P || echo exit $?")
        rows = self.rows(out)
        with open("/sys/devices/system/cpu/possible", encoding="ascii") as possible:
            cpus = int(possible.read().strip().split("-")[-1]) + 1
        self.assertIn(["dns", "IPv4", "canary", "100", "?", str(5 * cpus), "0"], rows, out)
        self.assertIn(["web", "observe", "-", "?", "?", "?"], rows, out)
        self.assertIn("empty", out)
        self.assertIn("exit 1", out)

    def test_pins_of_another_layout_are_left_alone(self):
        _, out = self.run_in(*self.control("dns/4", self.ENFORCED, version=99),
                             "$L steer fallback dns --direct --pin-path $P || echo exit $?",
                             "bpftool map dump pinned $P/steer@default/dns/4/control")
        self.assertIn("their layout is version 99", out)
        self.assertIn("exit 1", out)
        self.assertIn("\n63 00 00 00 04 00 00 00", out)

    def test_what_is_not_pinned_is_said_with_what_to_do(self):
        _, out = self.run_in("mkdir $P/steer@default",
                             "$L steer fallback dns --direct --pin-path $P || echo exit $?",
                             "$L steer fallback ../dns --direct --pin-path $P || echo exit $?",
                             "$L steer list --direct --pin-path $P")
        self.assertIn("No such file or directory; see 'loom steer list --direct'", out)
        self.assertIn("no group is called so", out)
        self.assertIn("no groups are pinned below", out)

    def test_an_incident_with_nothing_but_pins(self):
        path = os.path.join(self.folder.name, "pins.tgz")
        code, out = self.run_in(*self.control("dns/4", self.ENFORCED), *self.counters("dns/4"),
                                f"$L --socket /nonexistent steer incident dns -o {path} --pin-path $P")
        self.assertEqual(code, 0, out)
        with tarfile.open(path, "r:gz") as archive:
            files = {os.path.basename(m.name): archive.extractfile(m).read() for m in archive.getmembers()}
        self.assertIn(b"In the kernel, IPv4:  mode enforced", files["00-report.txt"])
        control = json.loads(files["programs.json"])["4"]["control"]
        self.assertEqual((control["kind"], control["contents"]["mode_name"]), ("map", "enforced"))


if __name__ == "__main__":
    unittest.main()
