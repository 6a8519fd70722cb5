"""Nanoseconds that steering adds to a packet: runs bench-steer and keeps its rows."""
import json
import os

from .lab import sh


def measure(tools, rounds):
    cpu = str(min(1, os.cpu_count() - 1))
    return {family: [json.loads(line) for line in sh(str(tools / "bench-steer"), str(rounds), cpu, family,
                                                     timeout=900).splitlines()] for family in ("4", "6")}
