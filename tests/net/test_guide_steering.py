"""docs/guides/steering.md: its commands are given as they stand, to a server under load, and nothing fails."""
import os
import re
import signal

import pytest
import yaml

from balancer import BUILD
from lab import HERE, until
from steering import READS_GROUP, SteerLoom, steer_lab

GUIDE = (HERE.parent.parent / "docs/guides/steering.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.M | re.S)


@pytest.fixture(name="net")
def _net():
    with steer_lab() as made:
        yield made


class Guide:
    """The guide's server and group; the machine's paths are the lab's."""

    def __init__(self, net):
        self.net, self.web = net, net.lab.dir / "web"
        for name in ("old", "new"):
            (self.web / name).mkdir(parents=True)
        (conf,), (config,) = blocks("nginx"), blocks("yaml")
        (self.web / "nginx.conf").write_text("user root;\n" + conf, encoding="ascii")
        self.group = yaml.safe_load(config)["steering"]["groups"][0]
        self.group["rollout"]["soak"] = "1s"
        if not READS_GROUP:  # the guide says so
            self.group["policy"] = "weighted"
        self.loom = SteerLoom(net, [self.group])

    def do(self, line, check=True):
        """A line as it stands."""
        more = f"--socket {self.loom.socket}"
        if "--direct" in line:
            line += f" --pin-path {self.loom.pins} --instance {self.loom.instance}"
            more = ""
        line = line.replace("/srv/web", str(self.web)).replace("/etc/loom/loom.yaml", str(self.loom.file))
        line = line.replace("nginx -p", "nginx -e stderr -p")
        line = re.sub(r"^loom ", f"{BUILD}/loom {more} ", re.sub(r"^loomd ", f"{BUILD}/loomd ", line))
        return self.net.host.run("bash", "-c", line, check=check)

    def until_done(self, line):
        """Some are refused until a soak time is over."""
        until(line, lambda: self.do(line, check=False).returncode == 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loom.__exit__()
        for pidfile in self.web.glob("*/nginx.pid"):
            os.kill(int(pidfile.read_text(encoding="ascii")), signal.SIGTERM)
        until("nginx has gone", lambda: self.net.sockets(self.group["port"]) == 0)


def test_every_command_does_what_the_guide_says(net):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert sum("rollout web" in line for line in lines) == 4
    with Guide(net) as guide:
        loom = guide.loom
        guide.do(lines.pop(0))
        net.listening(guide.group["port"], 4)
        with net.load("http", port=guide.group["port"], lanes=16, timeout=5000) as load:
            for line in lines:
                if line.startswith("loomd run"):
                    loom.start().settled(4, "web")
                elif line.startswith("loom steer swap"):
                    loom.settled(8, "web")
                    guide.do(line)
                    loom.until("all drained", lambda web: sum(row["state"] == "drained" for row in web["members"]) == 4, "web")
                elif line.startswith("kill"):
                    guide.do(line)
                    loom.settled(4, "web")
                elif "fallback web --direct" in line:
                    loom.stop(signal.SIGKILL)
                    assert "plain Linux decides" in guide.do(line).stdout
                    # The next loomd heeds it.
                    assert loom.start().until("members", lambda web: web["members"], "web")["fallback"]
                else:
                    guide.until_done(line)
                load.more(100)
            assert not loom.group("web")["attached"]
        assert load.failed() == 0, load.complaint()
