"""Network namespaces, veth pairs and processes that are gone when the benchmark is, however it ends."""
import atexit
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PREFIX = "loom-bench-"
SETTINGS = "machine-settings"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """What a person should read; no trace."""


def sh(*args, check=True, stdin=None, timeout=60):
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=timeout,
                          preexec_fn=_die_with_parent)
    if check and done.returncode:
        raise Failure(f"{' '.join(args)[:300]}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A server that runs until the lab ends; its output goes to a file."""

    def __init__(self, lab, name, args):
        self.name = name
        self.log = lab.tmp / f"{name}.log"
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                          preexec_fn=_die_with_parent)

    def wait_for(self, is_ready, seconds=15):
        deadline = time.monotonic() + seconds
        while not is_ready():
            if self.popen.poll() is not None:
                raise Failure(f"{self.name} ended with {self.popen.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} is not ready after {seconds} s: {self.tail()}")
            time.sleep(0.02)
        return self

    def output(self):
        return self.log.read_text(errors="replace")

    def tail(self):
        return self.output()[-1500:]

    def stop(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Lab:
    """`with Lab() as lab:` - names are unique to this process; leaving undoes everything."""

    def __init__(self):
        self.tag = f"{PREFIX}{os.getpid()}-"
        self.namespaces = []
        self.processes = []
        self.settings = []
        self.mounts = []
        self.tmp = None

    def __enter__(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix=self.tag))
        atexit.register(self.close)
        for signum in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda number, frame: sys.exit(128 + number))
        remove_leftovers()
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        while self.processes:
            self.processes.pop().stop()
        while self.namespaces:
            sh("ip", "netns", "del", self.namespaces.pop(), check=False)
        while self.settings:
            path, value = self.settings.pop()
            path.write_text(value)
        while self.mounts:
            sh("umount", "-l", str(self.mounts.pop()), check=False)
        if self.tmp:
            shutil.rmtree(self.tmp, ignore_errors=True)
            self.tmp = None

    def netns(self, name):
        full = self.tag + name
        sh("ip", "netns", "add", full)
        self.namespaces.append(full)
        sh("ip", "-n", full, "link", "set", "lo", "up")
        self.sysctl(full, "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0",
                    "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        return full

    def sysctl(self, netns, *settings):
        sh("ip", "netns", "exec", netns, "sysctl", "-qw", *settings)

    def ip(self, netns, *commands):
        """Each command is one line of `ip -batch`."""
        sh("ip", "-n", netns, "-batch", "-", stdin="\n".join(commands) + "\n")

    def veth(self, netns, name, address, peer_netns, peer, peer_address, queues=1):
        count = ("numtxqueues", str(queues), "numrxqueues", str(queues))
        sh("ip", "link", "add", name, "netns", netns, *count, "type", "veth", "peer", "name", peer, "netns", peer_netns,
           *count)
        for where, link, cidr in ((netns, name, address), (peer_netns, peer, peer_address)):
            self.ip(where, f"addr add {cidr} dev {link}", f"link set {link} up")

    def mac(self, netns, name):
        return sh("ip", "netns", "exec", netns, "cat", f"/sys/class/net/{name}/address").strip()

    def run(self, netns, *args, **kwargs):
        return sh("ip", "netns", "exec", netns, *args, **kwargs)

    def start(self, netns, name, *args):
        process = Process(self, name, ["ip", "netns", "exec", netns, *args])
        self.processes.append(process)
        return process

    def set_global(self, path, value):
        """Writes a machine-wide setting; its old value comes back at the end."""
        path = pathlib.Path(path)
        old = path.read_text()
        self.settings.append((path, old))
        with open(self.tmp / SETTINGS, "a", encoding="utf-8") as kept:   # for remove_leftovers
            kept.write(f"{path} {old.strip()}\n")
        path.write_text(str(value))

    def bpffs(self, name):
        path = self.tmp / f"{name}-bpf"
        path.mkdir()
        sh("mount", "-t", "bpf", "bpf", str(path))
        self.mounts.append(path)
        return path


def remove_leftovers():
    """What a benchmark left that was killed without a chance to clean up."""
    def is_left(name):
        pid = name[len(PREFIX):].split("-")[0]
        return name.startswith(PREFIX) and pid.isdigit() and not pathlib.Path("/proc", pid).exists()

    for line in sh("ip", "netns", "list").splitlines():
        if is_left(line.split()[0]):
            sh("ip", "netns", "del", line.split()[0], check=False)
    for path in pathlib.Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if is_left(path.name):
            for mount in path.glob("*-bpf"):
                sh("umount", "-l", str(mount), check=False)
            if (path / SETTINGS).exists():
                for line in (path / SETTINGS).read_text().splitlines():
                    setting, old = line.split()
                    pathlib.Path(setting).write_text(old)
            shutil.rmtree(path, ignore_errors=True)
