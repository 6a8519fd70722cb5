"""Nanoseconds per packet of the balancer's program: runs bench-ns and keeps its rows."""
import json
import os

from . import machine
from .lab import sh

MANY = 1 << 20
MEMORY_FOR_MANY_MB = 1500


def measure(tools, rounds, quick, say):
    many = machine.memory_available_mb() >= MEMORY_FOR_MANY_MB
    if not many:
        say(f"not measured with {MANY:,} flows: that takes {MEMORY_FOR_MANY_MB} MB of memory")
    out = sh(str(tools / "bench-ns"), str(rounds), str(min(1, os.cpu_count() - 1)), str(MANY if many else 65536),
             "quick" if quick else "full", timeout=900)
    return [json.loads(line) for line in out.splitlines()]
