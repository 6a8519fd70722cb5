import copy, json, os, pathlib
import balancer
TYPES = {"tcp": 0, "http": 1, "https": 2, "udp": 3, "dns": 4}
PATH = f"/tmp/loom-hack-{os.getpid()}"
os.environ["LOOM_HACK"] = PATH
def ms(text):
    for unit, factor in (("ms", 1), ("s", 1000), ("m", 60000), ("h", 3600000)):
        if text.endswith(unit):
            return int(float(text[:-len(unit)]) * factor)
def write(self, text=None):
    config = copy.deepcopy(self.config)
    lines = []
    checks = {u["name"]: u["check"] for u in config.pop("upstreams", [])}
    for s in config["services"]:
        h = s.pop("health", None)
        if h:
            c = checks[h["upstream"]]
            lines.append([s["name"], TYPES[c["type"]], ms(c["interval"]), ms(c["timeout"]), c["rise"], c["fall"], ms(c["flap_window"]),
                c.get("port", 0), c.get("path", "-"), c.get("expect", "-"), c.get("host", "-"), c.get("send", "-"), c.get("query", "-"), int(c.get("verify_tls", False)),
                ["keep", "drain", "reset"].index(h.get("on_unhealthy", "keep")), ms(h.get("drain_timeout", "0s")), int(h.get("min_healthy", "0%")[:-1]), ms(h.get("slow_start", "0s"))])
    pathlib.Path(PATH).write_text("".join(" ".join(map(str, l)) + "\n" for l in lines))
    self.file.write_text(text if text is not None else json.dumps(config, indent=1))
balancer.Loom.write = write
