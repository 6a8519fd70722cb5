"""What this machine is, and where its CPU time went."""
import os
import pathlib
import platform
import re

TICK = os.sysconf("SC_CLK_TCK")


def describe():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", text)
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {"kernel": platform.release(), "arch": platform.machine(), "cpus": os.cpu_count(),
            "cpu_model": model.group(1) if model else "unknown", "memory_mb": int(memory.group(1)) // 1024,
            "virtual": " hypervisor" in text}


def memory_available_mb():
    return int(re.search(r"MemAvailable:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) // 1024


def busy_seconds():
    """User, nice, system, irq and softirq time of all CPUs."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / TICK


def _processes():
    """pid -> (parent, CPU seconds of it and of the children it has waited for)."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            found[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICK)
    return found


def foreign_seconds():
    """CPU time of what is neither a kernel thread nor of this benchmark: other users of the machine."""
    processes = _processes()
    ours = {os.getpid(), 2}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in processes.items() if parent in ours} - ours
        ours |= more
        grown = bool(more)
    return sum(seconds for pid, (_, seconds) in processes.items() if pid not in ours)


class Meter:
    """`with Meter() as m:` - then m.own is the machine's busy time less that of others, m.foreign theirs."""

    def __enter__(self):
        self._foreign, self._busy = foreign_seconds(), busy_seconds()
        return self

    def __exit__(self, *unused):
        self.busy = busy_seconds() - self._busy
        self.foreign = max(0.0, foreign_seconds() - self._foreign)
        self.own = self.busy - self.foreign
