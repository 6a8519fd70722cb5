"""How the program gets onto an interface whose driver has no native XDP: lo."""
import signal
import subprocess

import pytest

from balancer import BUILD
from lab import Lab

CONFIG = """
instance: attach
state_dir: {dir}/state
admin: {{listen: off, socket: {dir}/admin.sock}}
ebpf: {{pin_path: {dir}/bpf/loom, xdp: {{interface: lo, mode: {mode}}}}}
services: [{{name: web, addresses: [10.0.0.1], protocol: tcp, ports: [80], backends: [{{address: 10.1.0.2, port: 80}}]}}]
"""


@pytest.fixture
def place(tmp_path):
    """A namespace and a BPF filesystem; gone afterwards."""
    with Lab() as lab:
        bpf = tmp_path / "bpf"
        bpf.mkdir()
        subprocess.run(["mount", "-t", "bpf", "bpf", bpf], check=True)
        try:
            yield lab.namespace("lb"), tmp_path
        finally:
            subprocess.run(["umount", bpf], check=True)


def start(place, mode):
    namespace, directory = place
    file = directory / "loom.yaml"
    file.write_text(CONFIG.format(dir=directory, mode=mode))
    return subprocess.Popen(["nsenter", f"--net=/run/netns/{namespace.name}", BUILD / "loomd", "run", "-c", file],
                            stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("mode, advice", [("native", "generic_fallback"), ("offload", "native or generic")])
def test_what_the_driver_cannot_is_refused_and_leaves_nothing(place, mode, advice):
    process = start(place, mode)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert advice in said
    assert list((place[1] / "bpf/loom").iterdir()) == []


def test_native_falls_back_to_generic_where_that_is_allowed_and_says_so(place):
    process = start(place, "native, generic_fallback: true")
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "ready" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert any("generic mode, which is slower" in line for line in lines)
    assert list((place[1] / "bpf/loom").iterdir()) == []
