#!/usr/bin/env python3
"""Runs loom doctor in network namespaces that have one thing wrong each, or nothing."""
import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

LOOM = os.environ["LOOM"]
LOOMD = os.environ["LOOMD"]
CLONE_NEWNET = 0x40000000
SKIP = 77
LIBC = ctypes.CDLL(None, use_errno=True)
CPUS = os.cpu_count()
VETH_MTU = os.sysconf("SC_PAGESIZE") - 590
NUMBERS = itertools.count()
PASS = """
__attribute__((section("xdp"), used)) int pass(void *ctx) { return 2; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""
OK, PROBLEMS, USAGE = range(3)


def run(*argv, check=True, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{argv}: exit {done.returncode}: {done.stderr or done.stdout}")
    return done


class Namespace:
    def __init__(self):
        self.name = f"loom-doctor-{os.getpid()}-{next(NUMBERS)}"
        run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        # No neighbour is solicited before the link-local address has been tested for a second.
        self.sysctl("ipv6/conf/default/accept_dad", 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run("ip", "netns", "delete", self.name)

    def argv(self, *argv):
        """Not 'ip netns exec': that hides the BPF filesystem below a /sys of its own."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, argv)]

    def run(self, *argv, **more):
        return run(*self.argv(*argv), **more)

    def ip(self, words):
        return run("ip", "-netns", self.name, *words.split())

    def sysctl(self, path, value):
        self.run("sh", "-c", f"echo {value} >/proc/sys/net/{path}")

    def bound(self, address, port, kind=socket.SOCK_STREAM):
        """A socket of this process in the namespace."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if LIBC.setns(there, CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            made.bind((address, port))
            return made
        finally:
            LIBC.setns(home, CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def listener(self, address, port, kind=socket.SOCK_STREAM):
        made = self.bound(address, port, kind)
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made


class Case(unittest.TestCase):
    """lb0 in the balancer's namespace, its other end h0 in the host's; nothing is wrong."""

    @classmethod
    def setUpClass(cls):
        cls.whole = contextlib.ExitStack()
        cls.addClassCleanup(cls.whole.close)
        cls.dir = pathlib.Path(cls.whole.enter_context(tempfile.TemporaryDirectory(prefix="loom-doctor-")))
        cls.object = cls.dir / "pass.o"
        run("clang", "-O2", "-g", "-target", "bpf", "-x", "c", "-c", "-o", cls.object, "-", input=PASS)
        cls.bpf = cls.dir / "bpf"
        cls.bpf.mkdir()
        run("mount", "-t", "bpf", "bpf", cls.bpf)
        cls.whole.callback(run, "umount", cls.bpf)

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.lb = self.stack.enter_context(Namespace())
        self.host = self.stack.enter_context(Namespace())
        self.pair("lb0", "h0", self.host)
        self.host.ip(f"link set h0 xdpdrv obj {self.object} sec xdp")
        for namespace, interface, end in ((self.lb, "lb0", 1), (self.host, "h0", 2)):
            namespace.ip(f"address add 10.9.0.{end}/24 dev {interface}")
            namespace.ip(f"address add fd09::{end}/64 dev {interface} nodad")
        self.lb.sysctl("ipv4/ip_forward", 1)
        self.lb.sysctl("ipv6/conf/all/forwarding", 1)
        self.lb.sysctl("ipv4/conf/all/rp_filter", 0)
        self.lb.sysctl("ipv4/conf/lb0/rp_filter", 0)
        self.backends = [{"address": "10.9.0.2", "port": 80}, {"address": "fd09::2", "port": 80}]
        self.service = {"name": "web", "addresses": ["10.9.1.1", "fd09:1::1"], "protocol": "tcp", "ports": [80],
                        "backends": self.backends}
        self.xdp = {"interface": "lb0", "mode": "native"}
        self.ebpf = {"pin_path": str(self.bpf / "loom"), "xdp": self.xdp, "conntrack": {"max_entries": 1000}}
        self.config = {"state_dir": str(self.dir / "state"), "ebpf": self.ebpf, "services": [self.service],
                       "admin": {"listen": "127.0.0.1:9091", "socket": str(self.dir / "admin.sock")}}

    def pair(self, left, right, namespace, queues=CPUS):
        queues = f"numtxqueues {queues} numrxqueues {queues}"
        self.lb.ip(f"link add {left} {queues} type veth peer name {right} {queues} netns {namespace.name}")
        namespace.ip(f"link set {right} up")
        self.lb.ip(f"link set {left} up")

    def doctor(self, *argv, code=OK, prefix=(), config=True):
        file = self.dir / "loom.yaml"
        file.write_text(json.dumps(self.config), encoding="utf-8")
        done = self.lb.run(*prefix, LOOM, "doctor", *argv, *(["-c", file] if config else []), check=False)
        self.assertEqual(done.returncode, code, done)
        return done.stdout, done.stderr

    def findings(self, **more):
        return json.loads(self.doctor("--json", **more)[0])

    def assert_found(self, *expected, **more):
        """Exactly these are wrong: (check, subject, severity, what the sentence holds)."""
        code = PROBLEMS if any(row[2] == "problem" for row in expected) else OK
        bad = [f for f in self.findings(code=code, **more) if f["severity"] != "ok"]
        told = "\n".join(map(str, bad))
        self.assertEqual(sorted((f["check"], f["subject"], f["severity"]) for f in bad),
                         sorted(row[:3] for row in expected), told)
        for check, subject, _, text in expected:
            self.assertTrue(any((f["check"], f["subject"]) == (check, subject) and text in f["finding"]
                                for f in bad), (text, told))

    def remedies(self, **more):
        return {(f["check"], f["subject"]): f["remedy"] for f in self.findings(**more) if f["severity"] != "ok"}

    def said(self, check, subject, **more):
        return [f["finding"] for f in self.findings(**more) if (f["check"], f["subject"]) == (check, subject)]


class Whole(Case):
    def test_nothing_is_wrong_where_nothing_is_wrong(self):
        self.assert_found()

    def test_every_finding_has_its_five_members(self):
        for finding in self.findings():
            self.assertEqual(sorted(finding), ["check", "finding", "remedy", "severity", "subject"])
            self.assertTrue(all(isinstance(v, str) for v in finding.values()))

    def test_findings_on_one_subject_stand_together(self):
        self.xdp.update(interface=["lb0", "lo"], generic_fallback=True)
        subjects = [f["subject"] for f in self.findings()]
        self.assertEqual(len(list(itertools.groupby(subjects))), len(set(subjects)))

    def test_what_is_wrong_has_a_remedy(self):
        self.xdp.update(interface="nosuch", mode="generic")
        self.lb.sysctl("ipv4/ip_local_port_range", "'1100 65000'")
        self.config["state_dir"] = "/dev/null/x"
        self.ebpf["pin_path"] = str(self.dir)
        for finding in self.findings(code=PROBLEMS):
            if finding["severity"] != "ok":
                self.assertTrue(finding["remedy"], finding)

    def test_the_table_names_a_subject_once_and_counts(self):
        self.xdp["mode"] = "offload"
        out, err = self.doctor(code=PROBLEMS)
        self.assertEqual(err, "")
        self.assertEqual(len(re.findall(r"(?m)^lb0 ", out)), 1)
        self.assertRegex(out, r"(?m)^lb0 +(ok|problem) ")
        self.assertRegex(out, r"(?m)^ +-> set mode: native")
        self.assertRegex(out, r"\n\n\d+ ok, 0 warnings, 1 problem\n\Z")

    def test_without_a_configuration_the_machine_alone_is_looked_at(self):
        subjects = {f["subject"] for f in self.findings(config=False)}
        self.assertEqual(subjects, {"kernel", "privileges", "files"})

    def test_a_configuration_with_errors_is_shown_and_ends_it(self):
        self.ebpf["nosuchkey"] = 1
        out, err = self.doctor(code=PROBLEMS)
        self.assertEqual(out, "")
        self.assertIn("nosuchkey", err)
        self.assertRegex(err, r"loom\.yaml:\d+:\d+: error: ")
        self.assertRegex(err, r"\nloom: cannot use .+: it has errors; .+\n\Z")

    def test_a_command_line_without_sense_is_a_usage_error(self):
        for argv in (["--nosuch"], ["operand"], ["-c"]):
            self.doctor(*argv, code=USAGE, config=False)

    def test_capabilities_that_are_missing_are_named(self):
        for name in ("bpf", "net_admin", "perfmon"):
            with self.subTest(name):
                prefix = ["setpriv", f"--inh-caps=-{name}", f"--bounding-set=-{name}"]
                told = [f for f in self.findings(code=PROBLEMS, prefix=prefix, config=False)
                        if f["severity"] == "problem"]
                self.assertEqual([f["check"] for f in told], ["capabilities"], told)
                self.assertIn(f"cap_{name} is missing", told[0]["finding"])

    def test_without_privileges_it_says_what_it_cannot_tell(self):
        prefix = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
        told = [f["finding"] for f in self.findings(code=PROBLEMS, prefix=prefix, config=False)
                if f["severity"] == "warning"]
        self.assertIn("cannot tell whether it has bpf_fib_lookup: Operation not permitted", told)


class Links(Case):
    def test_an_interface_that_does_not_exist(self):
        self.xdp["interface"] = "nosuch"
        self.assert_found(("interface", "nosuch", "problem", "no such interface"))

    def test_an_interface_that_is_down(self):
        self.lb.ip("link set lb0 down")
        self.service["backends"] = []
        self.assert_found(("up", "lb0", "problem", "down"))
        self.assertEqual(self.remedies(code=PROBLEMS)["up", "lb0"], "ip link set lb0 up")

    def test_an_interface_without_carrier(self):
        self.host.ip("link set h0 down")
        self.service["backends"] = []
        self.assert_found(("up", "lb0", "problem", "no carrier"))
        self.assertIn("the other end", self.remedies(code=PROBLEMS)["up", "lb0"])

    def test_a_driver_without_native_mode(self):
        self.service["backends"] = []
        self.lb.ip("link add br0 type bridge")
        self.lb.ip("link set lb0 master br0")
        self.lb.ip("link set br0 up")
        self.lb.ip("address add 10.9.2.1/24 dev br0")
        self.xdp["interface"] = "br0"
        queues = [("queues", "br0", "warning", "receive queue")] if CPUS > 1 else []
        self.assert_found(("mode", "br0", "problem", "bridge"), *queues)
        self.xdp["generic_fallback"] = True
        self.assert_found(("mode", "br0", "warning", "bridge"), *queues)
        self.xdp["interface"] = "lo"
        queues = [("queues", "lo", "warning", "receive queue")] if CPUS > 1 else []
        self.assert_found(("mode", "lo", "warning", "loopback"),
                          ("mtu", "lo", "warning", "65536"), *queues)

    def test_generic_mode_is_slower(self):
        self.xdp["mode"] = "generic"
        self.assert_found(("mode", "lb0", "warning", "slower"))

    def test_offload_is_refused(self):
        self.xdp["mode"] = "offload"
        self.assert_found(("mode", "lb0", "problem", "offload"))

    def test_an_mtu_that_native_mode_does_not_take(self):
        for mtu, severity, fallback in ((VETH_MTU, None, False), (VETH_MTU + 1, "problem", False),
                                        (VETH_MTU + 1, "warning", True)):
            with self.subTest(mtu, fallback=fallback):
                self.host.ip("link set h0 xdpdrv off")
                self.host.ip(f"link set h0 mtu {mtu}")
                self.host.ip(f"link set h0 xdpdrv obj {self.object} sec xdp")
                self.xdp["generic_fallback"] = fallback
                self.assert_found(*[("mtu", "lb0", severity, str(mtu))] if severity else [])
        self.xdp["mode"] = "generic"
        self.assert_found(("mode", "lb0", "warning", "slower"))

    def test_a_veths_own_mtu_does_not_matter(self):
        self.host.ip("link set h0 xdpdrv off")  # limits lb0's
        self.lb.ip("link set lb0 mtu 9000")
        self.assert_found(("peer", "lb0", "warning", "has no XDP program"))
        self.lb.ip(f"link set lb0 xdpdrv obj {self.object} sec xdp")

    def test_the_mtu_that_doctor_refuses_is_the_one_the_kernel_refuses(self):
        for mtu, taken in ((VETH_MTU, True), (VETH_MTU + 1, False)):
            self.host.ip(f"link set h0 mtu {mtu}")
            attach = self.lb.run("ip", "link", "set", "lb0", "xdpdrv", "obj", self.object, "sec", "xdp", check=False)
            self.assertEqual(attach.returncode == 0, taken, attach)
            self.lb.ip("link set lb0 xdpdrv off")

    def test_a_program_of_another_is_in_the_way(self):
        self.lb.ip(f"link set lb0 xdpdrv obj {self.object} sec xdp")
        self.assert_found(("program", "lb0", "problem", "not Loom's"))
        self.lb.ip("link set lb0 xdpdrv off")
        self.lb.ip(f"link set lb0 xdpgeneric obj {self.object} sec xdp")
        self.assert_found(("program", "lb0", "problem", "in generic mode"))

    @unittest.skipIf(CPUS < 2, "one CPU needs no second queue")
    def test_fewer_queues_than_cpus(self):
        self.lb.ip("link delete lb0")
        self.pair("lb0", "h0", self.host, queues=1)
        self.host.ip(f"link set h0 xdpdrv obj {self.object} sec xdp")
        self.service["backends"] = []
        self.lb.ip("address add 10.9.0.1/24 dev lb0")
        self.assert_found(("queues", "lb0", "warning", "1 receive queue"))
        self.config["ebpf"]["xdp"]["cpu_affinity"] = [0, 1]
        self.assert_found()
        self.config["ebpf"]["xdp"]["cpu_affinity"] = [0, 4000]
        self.assert_found(("cpus", "CPUs", "problem", "cannot use CPU 4000: it is not online"))

    def test_forwarding_that_is_off(self):
        for family, path in (("IPv4", "ipv4/ip_forward"), ("IPv6", "ipv6/conf/all/forwarding")):
            self.lb.sysctl(path, 0)
            for nat, severity in (("full", "warning"), ("destination", "problem")):
                with self.subTest(family, nat=nat):
                    self.service["nat"] = nat
                    self.assert_found(("ip_forward", "lb0", severity, family))
            self.lb.sysctl(path, 1)

    def test_strict_reverse_path_filtering_with_nat_destination(self):
        for all_, own, nat, bad in ((1, 0, "destination", True), (0, 1, "destination", True),
                                    (2, 1, "destination", False), (1, 0, "full", False)):
            with self.subTest(all=all_, own=own, nat=nat):
                self.lb.sysctl("ipv4/conf/all/rp_filter", all_)
                self.lb.sysctl("ipv4/conf/lb0/rp_filter", own)
                self.service["nat"] = nat
                self.assert_found(*[("rp_filter", "lb0", "warning", "strict")] if bad else [])


class Offloads(Case):
    def here(self):
        """Both ends in the balancer's namespace."""
        self.pair("v0", "v1", self.lb)
        self.xdp["interface"] = "v0"
        self.service["backends"] = []
        self.lb.ip(f"link set v1 xdpdrv obj {self.object} sec xdp")

    def test_a_peer_that_leaves_checksums_to_hardware(self):
        self.here()
        self.assert_found(("checksums", "v0", "problem", "v1, leaves checksums"))
        self.lb.run("ethtool", "-K", "v1", "tx", "off")
        self.assert_found()
        self.lb.run("ethtool", "-K", "v1", "tx", "on")
        self.xdp["mode"] = "generic"
        self.assert_found(("mode", "v0", "warning", "slower"))

    def test_a_peer_that_does_not_receive_what_xdp_sends(self):
        self.here()
        self.lb.run("ethtool", "-K", "v1", "tx", "off")
        self.lb.ip("link set v1 xdpdrv off")
        self.lb.run("ethtool", "-K", "v1", "gro", "off")
        self.assert_found(("peer", "v0", "problem", "is lost"))
        self.lb.run("ethtool", "-K", "v1", "gro", "on")
        self.assert_found(("peer", "v0", "warning", "late"))

    def test_a_peer_elsewhere_without_a_program(self):
        self.host.ip("link set h0 xdpdrv off")
        self.assert_found(("peer", "lb0", "warning", "has no XDP program"))
        self.host.ip(f"link set h0 xdpgeneric obj {self.object} sec xdp")
        self.assert_found(("peer", "lb0", "warning", "has no XDP program"))

    def test_hidden_vlan_tags_are_told(self):
        self.lb.run("ethtool", "-K", "lb0", "rxvlan", "on")
        self.assertIn("hides VLAN tags", self.said("vlan", "lb0")[0])
        self.lb.run("ethtool", "-K", "lb0", "rxvlan", "off")
        self.assertEqual(self.said("vlan", "lb0"), ["VLAN tags reach XDP"])


class Backends(Case):
    def test_an_address_of_this_host(self):
        self.backends[0]["address"] = "10.9.0.1"
        self.assert_found(("backend", "backend 10.9.0.1", "problem", "this host's own"))

    def test_no_route(self):
        self.backends[0]["address"] = "192.0.2.1"
        self.backends[1]["address"] = "2001:db8::1"
        self.lb.ip("route add unreachable 192.0.2.1")
        self.assert_found(("backend", "backend 192.0.2.1", "problem", "no route"),
                          ("backend", "backend 2001:db8::1", "problem", "Network is unreachable"))

    def test_a_neighbour_that_does_not_answer(self):
        self.backends[0]["address"] = "10.9.0.77"
        self.assert_found(("backend", "backend 10.9.0.77", "warning", "10.9.0.77 does not answer on lb0"))

    def test_a_gateway_is_the_neighbour(self):
        self.backends[0]["address"] = "192.0.2.1"
        self.lb.ip("route add 192.0.2.0/24 via 10.9.0.2")
        self.assert_found()
        self.lb.ip("route replace 192.0.2.0/24 via 10.9.0.77")
        self.assert_found(("backend", "backend 192.0.2.1", "warning", "10.9.0.77 does not answer"))

    def test_an_address_is_told_once(self):
        self.backends.append({"address": "10.9.0.2", "port": 81})
        self.assertEqual(len(self.said("backend", "backend 10.9.0.2")), 1)


class Ports(Case):
    def test_source_ports_among_the_kernels_own(self):
        self.xdp["snat"] = {"ports": "33000-34000"}
        self.lb.sysctl("ipv4/ip_local_port_range", "'32768 60999'")
        self.assert_found(("ports", "nat", "warning", "33000-34000 overlap"))
        self.lb.sysctl("ipv4/ip_local_reserved_ports", "1,32999-33500,33501-34000")
        self.assert_found()
        self.lb.sysctl("ipv4/ip_local_reserved_ports", "33000-33500,33502-34000")
        self.assert_found(("ports", "nat", "warning", "overlap"))
        self.service["nat"] = "destination"
        self.assert_found()

    def test_no_room_for_source_ports(self):
        self.lb.sysctl("ipv4/ip_local_port_range", "'1100 65000'")
        self.assert_found(("ports", "nat", "problem", "cannot find source ports"))

    def test_sockets_on_source_ports_are_named(self):
        self.xdp["snat"] = {"ports": "20000-21000"}
        me = pathlib.Path("/proc/self/comm").read_text(encoding="utf-8").strip()
        for address, port, kind, text in (("0.0.0.0", 20000, socket.SOCK_STREAM, f"tcp 20000 ({me})"),
                                          ("::", 21000, socket.SOCK_STREAM, f"tcp 21000 ({me})"),
                                          ("10.9.0.1", 20500, socket.SOCK_DGRAM, f"udp 20500 ({me})"),
                                          ("0.0.0.0", 19999, socket.SOCK_STREAM, None),
                                          ("0.0.0.0", 21001, socket.SOCK_STREAM, None)):
            with self.subTest(port), self.lb.listener(address, port, kind):
                self.assert_found(*[("ports", "nat", "warning", text)] if text else [])

    def test_connections_on_source_ports_are_not_listeners(self):
        self.xdp["snat"] = {"ports": "20000-21000"}
        with self.lb.listener("127.0.0.1", 19999), self.lb.bound("127.0.0.1", 20001) as client:
            client.connect(("127.0.0.1", 19999))
            self.assert_found()

    def test_the_admin_port_is_taken(self):
        for address, listen, taken in (("127.0.0.1", "127.0.0.1:9091", True), ("0.0.0.0", "127.0.0.1:9091", True),
                                       ("::", "127.0.0.1:9091", True), ("::1", "[::1]:9091", True),
                                       ("10.9.0.1", "127.0.0.1:9091", False), ("0.0.0.0", "[::1]:9091", False)):
            with self.subTest(address, listen=listen), self.lb.listener(address, 9091):
                self.config["admin"]["listen"] = listen
                self.assert_found(*[("admin", "admin", "problem", f"{listen} is taken")] if taken else [])


class Files(Case):
    def test_pins_that_are_on_no_bpf_filesystem(self):
        self.ebpf["pin_path"] = str(self.dir / "not-bpf")
        self.assert_found(("pin_path", "files", "problem", "not on a BPF filesystem"))

    def test_a_state_directory_that_cannot_be_written(self):
        file = self.dir / "file"
        file.touch()
        self.config["state_dir"] = str(file / "state")
        self.assert_found(("state_dir", "files", "problem", "Not a directory"))

    def test_a_state_directory_on_a_file_system_that_is_read_only(self):
        readonly = self.dir / "readonly"
        readonly.mkdir()
        run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", readonly)
        self.stack.callback(run, "umount", readonly)
        self.config["state_dir"] = str(readonly / "a" / "b")
        self.assert_found(("state_dir", "files", "problem", "Read-only"))

    def test_more_connections_than_memory(self):
        text = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8")
        available = int(re.search(r"MemAvailable: +(\d+)", text)[1]) * 1024
        for share, severity in ((0.1, None), (0.75, "warning"), (1.5, "problem")):
            with self.subTest(share):
                self.ebpf["conntrack"]["max_entries"] = int(available * share / 2 / (128 + 176))
                self.assert_found(*[("memory", "memory", severity, "MiB")] if severity else [])


class Running(Case):
    """Beside a loomd that serves, its own program and port are no findings."""

    def setUp(self):
        super().setUp()
        self.doctor()  # writes the file
        self.loomd = subprocess.Popen(self.lb.argv(LOOMD, "run", "-c", self.dir / "loom.yaml"),
                                      stderr=subprocess.PIPE, text=True)
        self.stack.callback(self.stop)
        said = ""
        while "ready" not in said:
            self.assertTrue(select.select([self.loomd.stderr], [], [], 30)[0], said)
            # Not readline(): what it reads ahead is nothing select() knows of.
            text = os.read(self.loomd.stderr.fileno(), 4096).decode()
            self.assertTrue(text, said)
            said += text

    def stop(self):
        self.loomd.send_signal(signal.SIGINT)
        self.loomd.communicate(timeout=30)

    def test_what_is_its_own_is_not_in_the_way(self):
        self.assert_found()
        self.assertEqual(self.said("program", "lb0"), ["Loom's program is attached in native mode"])
        self.assertEqual(self.said("admin", "admin"), ["127.0.0.1:9091 is held by loomd"])

    def test_the_program_of_another_instance_is_not_its_own(self):
        self.config["instance"] = "other"
        self.assert_found(("program", "lb0", "problem", "not Loom's"))


def main():
    missing = [tool for tool in ("ip", "nsenter", "ethtool", "setpriv", "clang") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        print(f"skipped: needs root{''.join(f' and {tool}' for tool in missing)}")
        return SKIP
    return 0 if unittest.main(exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
