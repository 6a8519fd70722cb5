"""Medians, spreads, tables and targets."""
import statistics


def summary(values):
    """Median and quartiles."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {"median": statistics.median(values), "low": low, "high": high}


def ratio(ours, theirs):
    """Of runs of the same round; median and quartiles."""
    return summary([a / b for a, b in zip(ours, theirs)])


def spread(s, digits=0, scale=1):
    return f"{s['median'] * scale:,.{digits}f} ({s['low'] * scale:,.{digits}f}–{s['high'] * scale:,.{digits}f})"


def table(title, heads, rows):
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]
    print(f"\n{title}")
    for row in [heads, *rows]:
        cells = [str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())


class Targets:
    """What was to be reached, and whether it was.  Reported, never asserted."""

    def __init__(self):
        self.list = []

    def at_most(self, what, value, limit, unit):
        self._add(what, value, limit, unit, value <= limit, "at most")

    def at_least(self, what, value, limit, unit):
        self._add(what, value, limit, unit, value >= limit, "at least")

    def _add(self, what, value, limit, unit, met, word):
        self.list.append({"what": what, "value": round(value, 2), "target": f"{word} {limit:g} {unit}", "met": met})

    def show(self):
        if self.list:
            table("Targets", ("", "measured", "target", ""),
                  [(t["what"], f"{t['value']:g}", t["target"], "met" if t["met"] else "MISSED") for t in self.list])


# Nanoseconds that a policy adds to an IPv4 packet, four members.
STEER_TARGETS = {"weighted": 80, "source_hash": 80, "wireguard": 100, "least_loaded": 200}


def steer_report(families, targets):
    rows = []
    for of4, of6 in zip(families["4"], families["6"]):
        four, six = summary(of4["ns"]), summary(of6["ns"])
        rows.append((of4["row"], spread(four), spread(six)))
        if of4["row"] in STEER_TARGETS:
            targets.at_most(f"steering: {of4['row']}, four members", four["median"], STEER_TARGETS[of4["row"]], "ns")
    table("Steering: ns that each policy adds to a UDP packet (first row: what one takes)", ("", "IPv4", "IPv6"), rows)


def _range(values):
    return f"{sorted(values)[len(values) // 2]:,.2f} (max {max(values):,.2f})"


def steer_scale_report(result, targets):
    n = result["groups"]
    for size, rows in result["control"].items():
        table(f"Steering: one group of {size} sockets, µs", ("", "median", "99 %", "worst"),
              [(r["operation"], f"{r['median_us']:,.1f}", f"{r['p99_us']:,.1f}", f"{r['max_us']:,.1f}") for r in rows])
        for r in rows:
            if r["operation"] in ("attach", "swap"):
                targets.at_most(f"steering: {r['operation']}, {size} sockets", r["median_us"] / 1e3, 1, "ms")
    start, again, held = result["start"], result["restart"], result["held"]
    table(f"Steering: {n:,} groups of 4 sockets", ("", ""), [
        ("start: ready, s", f"{start['ready']:.2f}"),
        ("start: all attached, s", f"{start['attached']:.2f}"),
        ("restart: ready, s", f"{again['ready']:.2f}"),
        ("restart: all attached, s", f"{again['attached']:.2f}"),
        ("start: of CPU, s", f"{start['cpu']:.2f}"),
        ("restart: of CPU, s", f"{again['cpu']:.2f}"),
        ("longest answer meanwhile, s", f"{start['answer']:.2f}"),
        ("idle at poll: 50ms, % of a CPU", f"{result['cpu_50ms']:.1f}"),
        ("idle at poll: 1s, % of a CPU", f"{result['cpu_1s']:.1f}"),
        ("a newcomer is seen after, ms", _range(result["seen"]["join_ms"])),
        ("a death is seen after, ms", _range(result["seen"]["death_ms"])),
        ("memory of the process, MB", f"{held['resident'] / 1e6:.1f}"),
        ("memory of BPF maps, KB a group", f"{held['map_bytes'] / n / 1e3:.1f}"),
        ("descriptors a group", f"{held['fds'] / n:.1f}")])
    targets.at_most(f"steering: start of {n:,} groups", start["attached"], 10, "s")
    targets.at_most(f"steering: {n:,} idle groups", result["cpu_50ms"], 15, "% of a CPU")
    targets.at_most("steering: a newcomer is seen", max(result["seen"]["join_ms"]), 100, "ms")
    table(f"Steering: {n:,} groups: requests, ms", ("", "median (worst)", "of CPU"),
          [(k, _range(v["ms"]), _range(v["cpu_ms"])) for k, v in result["api"].items()])
    for what in ("rollout", "weight", "drain", "swap", "policy"):
        targets.at_most(f"steering: {what} of one of {n:,} groups", summary(result["api"][what]["ms"])["median"], 10, "ms")
    leaks = result["leaks"]
    table("Steering: what is held before and after members and groups came and went", ("", "before", "after"),
          [(k, f"{leaks['before'][k]:,}", f"{leaks['after'][k]:,}") for k in leaks["before"]])
    table("Steering: one big group", ("", *result["big"]), [
        (name, *(f"{big[key]:,.1f}" for big in result["big"].values())) for name, key in (
            ("slots", "slots"), ("warnings", "warnings"), ("idle, % of a CPU", "cpu_percent"), ("GET, ms", "get_ms"),
            ("weight, ms", "weight_ms"), ("a death is seen after, ms", "death_ms"))])


KINDS = {"not_ours": "not ours", "established": "established", "established_noted": "established, noting its time",
         "new": "new flow"}

GROUPS = {"nat4": "NAT", "nat4-noting": "NAT", "nat4-udp": "NAT", "nat6": "NAT", "nat6-udp": "NAT",
          "destination4": "NAT of destination", "ipip4": "IPIP", "ipip4-udp": "IPIP", "ipip4-lru-cpus": "IPIP, LRU per CPU", "ipip4-hash": "IPIP, plain hash", "ipip4-redirect": "IPIP, other interface", "ipip6": "IPIP",
          "ipip4in6": "IPIP, 4 in 6", "gue4": "GUE", "l2": "L2", "l2-udp": "L2", "stateless4": "IPIP, no table",
          "stateless6": "IPIP, no table", "stateless-l2": "L2, no table"}

MANY = 1 << 20

# Nanoseconds, by group, kind and flows.
NS_TARGETS = {
    ("nat4", "not_ours", 1024): 15, ("nat4", "established", 1): 80, ("nat4", "established", MANY): 200,
    ("nat4", "new", 65536): 600,
    ("ipip4", "established", 1): 60, ("ipip4", "established", MANY): 180, ("ipip4", "new", 65536): 350,
    ("ipip4-udp", "established", 1): 60, ("ipip4-udp", "established", MANY): 180, ("ipip4-udp", "new", 65536): 350,
    ("ipip6", "established", 1): 70, ("l2", "established", 1): 45, ("l2-udp", "established", 1): 45,
    ("l2", "new", 65536): 350,
    ("stateless4", "established", 1): 100, ("stateless4", "established", MANY): 100,
}


def ns_summarise(row):
    """Half of putting an outer header on and off is the wrapper's."""
    undo = [(both - without) / 2 for both, without in zip(row.get("push_pop_ns", row["wrapper_ns"]), row["wrapper_ns"])]
    row["above_wrapper"] = summary([b - w - u for b, w, u in zip(row["balance_ns"], row["wrapper_ns"], undo)])
    row["above_pass"] = summary([b - p for b, p in zip(row["balance_ns"], row["pass_ns"])])
    row["undo"] = summary(undo)
    if "table_ns" in row:
        row["table"] = summary([t - w for t, w in zip(row["table_ns"], row["wrapper_ns"])])


def ns_report(rows, targets):
    lines = []
    for row in rows:
        ns_summarise(row)
        name = f"{KINDS[row['kind']]}, IPv{row['family']} {row['proto'].upper()}, {GROUPS[row['group']]}"
        target = NS_TARGETS.get((row["group"], row["kind"], row["flows"]))
        value = row["above_wrapper"]["median"]
        verdict = "" if target is None else f"{target} {'met' if value <= target else 'MISSED'}"
        lines.append((name, f"{row['flows']:,}", spread(row["above_wrapper"]), verdict, f"{row['above_pass']['median']:.0f}",
                      f"{row['table']['median']:.0f}" if "table" in row else "-",
                      f"{row['undo']['median']:.0f}" if "push_pop_ns" in row else "-",
                      f"{statistics.median(row['wrapper_ns']):.0f}", f"{statistics.median(row['pass_ns']):.0f}"))
        if target is not None:
            targets.at_most(f"ns: {name}, {row['flows']:,} flows", value, target, "ns")
    table("Nanoseconds per packet: balancer above its wrapper (quartiles), its target, and the wrapped balancer above XDP_PASS;\n"
          "what the table alone takes of it, a lookup or a flow's insertions; then the floors: taking an outer header off,\n"
          "the wrapper, XDP_PASS",
          ("", "flows", "balancer", "target", "above pass", "table", "undo", "wrapper", "pass"), lines)


def pps_report(rows, targets):
    by = {(row["path"], row["flows"]): row for row in rows}
    lines = []
    for row in rows:
        rates = [r["mpps"] for r in row["rounds"]]
        row["mpps"] = summary(rates)
        row["lost_percent"] = 100 * statistics.median(1 - r["received"] / max(1, r["sent"]) for r in row["rounds"])
        base = by.get(("nftables", row["flows"]))
        row["times_nftables"] = ratio(rates, [r["mpps"] for r in base["rounds"]])
        lines.append((row["label"], f"{row['flows']:,}", spread(row["mpps"], 2), spread(row["times_nftables"], 2),
                      f"{row['lost_percent']:.2f}%"))
        if row["path"] == "loom":
            targets.at_least(f"packets per second, {row['flows']:,} flows, against nftables",
                             row["times_nftables"]["median"], 3 if row["flows"] == 1024 else 5, "×")
    table("Million packets per second that came out, per second of the one CPU that sends, balances and receives (quartiles)",
          ("", "flows", "Mpps", "× nftables", "lost"), lines)


def cpus_report(rows):
    lines = []
    for row in rows:
        one, two = ([r["mpps"] for r in row[cpus]] for cpus in ("one", "two"))
        row["ratio"] = ratio(two, one)
        by_cpu = [sum(r["received_by_cpu"][cpu] for r in row["two"]) for cpu in (0, 1)]
        lines.append((row["label"], spread(summary(one), 2), spread(summary(two), 2), spread(row["ratio"], 2),
                      f"{100 * by_cpu[1] / max(1, sum(by_cpu)):.0f}%"))
    if lines:
        table(f"Scaling: million packets per second of {rows[0]['flows']:,} flows on one CPU and on two, each with a queue of its\n"
              "own, per second of their time (quartiles); how much of it the second one received",
              ("", "one CPU", "two CPUs", "two / one", "second's"), lines)


def balancer_us(rows, kind, count):
    """CPU microseconds per connection or request above the same run without a balancer, by site, round by round."""
    base = {row["prepared"]: row for row in rows if row["site"].startswith("direct")}
    return {row["site"]: [(with_["cpu_seconds"] - without["cpu_seconds"]) * 1e6 / with_[count]
                          for with_, without in zip(row[kind], base[row["prepared"]][kind])] for row in rows}


def http_report(rows, targets):
    short, keepalive = balancer_us(rows, "short", "connections"), balancer_us(rows, "keepalive", "requests")
    lines = []
    for row in rows:
        row["short_per_second"] = summary([r["per_second"] for r in row["short"]])
        row["keepalive_per_second"] = summary([r["per_second"] for r in row["keepalive"]])
        row["gbit_per_second"] = summary([r["gbit_per_second"] for r in row["bulk"]])
        row["balancer_us_per_connection"] = summary(short[row["site"]])
        row["balancer_us_per_request"] = summary(keepalive[row["site"]])
        row["failed"] = sum(r["failed"] for kind in ("short", "keepalive") for r in row[kind])
        direct = row["site"].startswith("direct")
        lines.append((row["label"], spread(row["short_per_second"]),
                      "-" if direct else spread(row["balancer_us_per_connection"], 1),
                      spread(row["keepalive_per_second"]), "-" if direct else spread(row["balancer_us_per_request"], 1),
                      spread(row["gbit_per_second"], 1), row["failed"]))
    table("Real traffic: short HTTP connections, keepalive requests, one bulk TCP stream (quartiles); the balancer's CPU is\n"
          "the whole machine's less that of the same run without a balancer",
          ("", "connections/s", "µs CPU each", "requests/s", "µs CPU each", "Gbit/s", "failed"), lines)
    ours = next((row for row in rows if row["site"] == "loom"), None)
    theirs = next(row for row in rows if row["site"] == "haproxy")
    if ours:
        gain = theirs["balancer_us_per_connection"]["median"] / max(0.1, ours["balancer_us_per_connection"]["median"])
        targets.at_least("short connections per balancer CPU second, against HAProxy", gain, 5, "×")


def scale_report(result, targets):
    rows = [("start", f"{result['start_s']:.2f} s"), ("restart, taking over", f"{result['restart_s']:.2f} s"),
            ("all 1,000 tables edited in place (reload)", f"{result['edit_all_s']:.2f} s"),
            ("all 1,000 tables swapped (reload)", f"{result['swap_all_s']:.2f} s"),
            ("memory of the process", f"{result['memory']['process'] / 2**20:.0f} MB"),
            ("memory of the maps", f"{result['memory']['maps'] / 2**20:.0f} MB"),
            *((f"GET {path}", f"{seconds * 1e3:.0f} ms") for path, seconds in result["get"].items()),
            ("new connections to a removed backend", f"{result['removal']['after']} (before: {result['removal']['before']})"),
            ("requests that failed meanwhile", f"{result['removal']['failed']} of {result['removal']['requests']}")]
    table("1,000 services of 10 backends", ("", "measured"), rows)
    lines = []
    for kind, change in result["changes"].items():
        ms = sorted(1e3 * seconds for seconds in change["seconds"])
        lines.append((kind, spread(summary(ms), 1), f"{ms[-1 - len(ms) // 100]:.1f}", f"{1e3 * len(ms) / sum(ms):.0f}",
                      f"{change['beside_p99'] * 1e3:.1f}", f"{change['beside_max'] * 1e3:.1f}"))
        targets.at_most(f"scale: {kind} of one backend", summary(ms)["median"], 30 if kind == "DELETE" else 10, "ms")
    table("One change of a backend, ms", ("", "median", "p99", "a second", "others wait, p99", "at most"), lines)
    targets.at_most("scale: start", result["start_s"], 4, "s")
    for path in ("/ebpf/backends", "/metrics"):
        targets.at_most(f"scale: GET {path}", result["get"][path] * 1e3, 200, "ms")


def million_report(result):
    flood = result["overflow"]
    table("1,048,576 connections, full NAT", ("", "measured"), [
        ("listed by the API", f"{result['listed']:,} ({result['distinct']:,} different)"),
        ("memory of one connection (two entries)", f"{2 * result['bytes'] / result['entries']:.0f} B"),
        ("sweep of the empty table", f"{result['sweep_empty_s'] * 1e3:.0f} ms"),
        ("sweep", f"{result['sweep_s'] * 1e3:.0f} ms"),
        ("Mpps, swept without pause", spread(summary(result["mpps"]["swept"]), 2)),
        ("Mpps, the daemon stopped", spread(summary(result["mpps"]["stopped"]), 2)),
        ("ratio", spread(ratio(result["mpps"]["swept"], result["mpps"]["stopped"]), 3)),
        ("all pages of 1,000", f"{sum(result['pages']):.1f} s in {len(result['pages'])} pages"),
        ("one page", f"{spread(summary(result['pages']), 1, 1e3)} ms"),
        ("then so many new ones", f"{flood['new']:,}"),
        ("lost of those that went on sending", f"{flood['lost']} of {flood['keepers']}")])
