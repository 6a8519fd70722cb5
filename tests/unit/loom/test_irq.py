#!/usr/bin/env python3
"""Runs 'loom irq' over copies of /sys and /proc."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

LOOM = os.environ["LOOM"]
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "dumb"}
ENVIRONMENT.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
OK, REFUSED, USAGE = range(3)

CARD = {
    "/sys/devices/system/cpu/online": "0-3",
    "/sys/devices/system/node/node1/cpulist": "2-3",
    "/sys/class/net/eth0/device/numa_node": "1",
    "/sys/class/net/eth0/device/msi_irqs/50": "msix",
    "/sys/class/net/eth0/device/msi_irqs/51": "msix",
    "/sys/class/net/eth0/queues/rx-0/rps_cpus": "0",
    "/sys/class/net/eth0/queues/rx-1/rps_cpus": "f",
    "/sys/class/net/eth0/queues/tx-0/xps_cpus": "1",
    "/sys/class/net/eth0/queues/tx-1/xps_cpus": "1",
    "/proc/irq/50/smp_affinity_list": "0-3",
    "/proc/irq/51/smp_affinity_list": "1",
    "/proc/irq/51/effective_affinity_list": "1",
    "/proc/interrupts": "  CPU0 CPU1 CPU2 CPU3\n 50: 10 0 0 0 MSI 0-edge eth0-TxRx-0\n"
                        " 51: 0 2000 0 0 MSI 1-edge eth0-TxRx-1\n",
    "/proc/softirqs": "  CPU0 CPU1 CPU2 CPU3\n NET_RX: 1 2 3 4\n",
    "/proc/net/softnet_stat": "".join(f"0000{cpu}000 0 0 0 0 0 0 0 0 0 0 0 {cpu:x} 0 0\n" for cpu in range(4)),
}


class Irq(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="loom-irq-")
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        for path, text in CARD.items():
            self.put(path, text)

    def put(self, path, text):
        file = pathlib.Path(str(self.root) + path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def files(self):
        return {str(p)[len(str(self.root)):]: p.read_text().strip() for p in self.root.rglob("*") if p.is_file()}

    def loom(self, verb, *args, code=OK, interface=("--iface", "eth0")):
        done = subprocess.run([LOOM, "irq", verb, "--root", self.root, *interface, *args], env=ENVIRONMENT,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done)
        return done.stdout, done.stderr

    def test_a_plan_shows_every_file_and_changes_none(self):
        before = self.files()
        out, _ = self.loom("plan", "--cpus", "0-1")
        rows = [line.split() for line in out.splitlines()]
        for row in (["/proc/irq/50/smp_affinity_list", "<-", "0", "0-3", "0", "eth0-TxRx-0"],
                    ["/proc/irq/51/smp_affinity_list", "is", "1", "1", "1", "eth0-TxRx-1"],
                    ["/sys/class/net/eth0/queues/rx-0/rps_cpus", "is", "0", "0", "0"],
                    ["/sys/class/net/eth0/queues/rx-1/rps_cpus", "<-", "0", "f", "1"],
                    ["/sys/class/net/eth0/queues/tx-0/xps_cpus", "is", "1", "1", "0"],
                    ["/sys/class/net/eth0/queues/tx-1/xps_cpus", "<-", "2", "1", "1"]):
            self.assertIn(row, rows)
        self.assertIn("3 to write, 3 as planned already", out)
        self.assertEqual(self.files(), before)

    def test_json_says_the_same_to_programs(self):
        plan = json.loads(self.loom("plan", "--cpus", "all", "--numa", "--json")[0])
        self.assertEqual(plan["cpus"], [2, 3, 0, 1])
        self.assertEqual(plan["numa_node"], 1)
        self.assertIs(plan["applied"], False)
        self.assertEqual([f["value"] for f in plan["files"]], ["2", "3", "5", "a", "5", "a"])
        self.assertEqual(plan["files"][1], {
            "kind": "interrupt", "queue": 1, "name": "eth0-TxRx-1", "path": "/proc/irq/51/smp_affinity_list",
            "value": "3", "current": "1", "change": True})

    def test_apply_writes_what_was_planned_and_says_so(self):
        planned = json.loads(self.loom("plan", "--json")[0])["files"]
        before = self.files()
        out, _ = self.loom("apply")
        for file in planned:
            self.assertEqual(f"{file['path']} <- {file['value']} (was {file['current']})" in out, file["change"])
        self.assertEqual(self.files(), before | {f["path"]: f["value"] for f in planned})
        self.assertIn("0 to write", self.loom("plan")[0])
        self.assertIn("0 written", self.loom("apply")[0])

    def test_a_write_that_fails_puts_back_those_before_it(self):
        (self.root / "proc/irq/51/smp_affinity_list").unlink()
        before = self.files()
        out, err = self.loom("apply", code=REFUSED)
        self.assertIn("/proc/irq/50/smp_affinity_list <- 0", out)
        self.assertIn("cannot open", err)
        self.assertIn("/proc/irq/51/smp_affinity_list", err)
        self.assertIn("put back 1 file written before", err)
        self.assertEqual(self.files(), before)

    def test_irqbalance_is_not_fought(self):
        self.put("/proc/77/comm", "irqbalance")
        before = self.files()
        self.assertIn("note: irqbalance runs", self.loom("plan")[0])
        _, err = self.loom("apply", code=REFUSED)
        self.assertIn("systemctl disable --now irqbalance", err)
        self.assertIn("--force", err)
        self.assertEqual(self.files(), before)
        self.loom("apply", "--force")
        self.assertNotEqual(self.files(), before)

    def test_what_cannot_be_planned_is_explained(self):
        for args, code, text in (
            (["--cpus", "0,9"], REFUSED, "cannot use CPU 9: it is not online; name some of 0-3"),
            (["--cpus", "some"], USAGE, "it is no list as 0-3,8"),
            (["--cpus", ""], USAGE, "it is no list as 0-3,8"),
            (["--watch"], USAGE, "cannot watch 'irq plan'"),
        ):
            with self.subTest(args):
                self.assertIn(text, self.loom("plan", *args, code=code)[1])
        self.assertIn("cannot find interface eth9", self.loom("plan", code=REFUSED, interface=("-i", "eth9"))[1])
        for verb in ("plan", "apply", "show"):
            self.assertIn("--iface IF", self.loom(verb, code=USAGE, interface=())[1])

    def test_an_interface_without_interrupts_is_told_what_to_use(self):
        self.put("/sys/class/net/veth0/queues/rx-0/rps_cpus", "0")
        out, _ = self.loom("plan", interface=("-i", "veth0"))
        self.assertIn("has no interrupts of its own", out)
        self.assertIn("ebpf.xdp.cpu_affinity", out)
        self.assertIn(["/sys/class/net/veth0/queues/rx-0/rps_cpus", "<-", "f", "0", "0"],
                      [line.split() for line in out.splitlines()])

    def test_show_tells_who_serves_what(self):
        out, _ = self.loom("show")
        rows = [line.split() for line in out.splitlines()]
        self.assertIn("eth0: 2 receive queues, 2 transmit queues, NUMA node 1", out)
        self.assertIn(["rx+tx", "1", "51", "eth0-TxRx-1", "1", "1", "2.0", "k"], rows)
        self.assertIn(["rx", "1", "RPS", "0-3"], rows)
        self.assertIn(["3", "0", "4", "12.3", "k", "0", "0"], rows)
        show = json.loads(self.loom("show", "--json")[0])
        self.assertEqual(show["interrupts"][1]["counts"], [0, 2000, 0, 0])
        self.assertEqual(show["cpus"][3], {"cpu": 3, "net_rx": 4, "packets": 0x3000, "dropped": 0, "squeezed": 0})

    def test_watched_sums_become_rates(self):
        watch = subprocess.Popen([LOOM, "irq", "show", "--root", self.root, "-i", "eth0", "--watch=0.2"],
                                 env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        try:
            lines = iter(watch.stdout.readline, "")
            self.assertIn("2.0 k", next(line for line in lines if "eth0-TxRx-1" in line))
            self.assertRegex(next(line for line in lines if "eth0-TxRx-1" in line), r" 0 /s$")
        finally:
            watch.terminate()
            watch.wait()
            watch.stdout.close()


if __name__ == "__main__":
    unittest.main()
