"""What the kernel has, compared with what the API says there is: read by bpftool, not through Loom's own code."""
import collections
import ipaddress
import json

from lab import LabError, run

STATES = {0: "unused", 1: "active", 2: "cut", 3: "draining"}
TCP, UDP, ICMP = 6, 17, 1


def dump(loom, name):
    """A pinned map's entries, as BTF names them."""
    return [row["formatted"] if "formatted" in row else row for row in loom.map_dump(name)]


def address_of(words):
    raw = b"".join(int(word).to_bytes(4, "little") for word in words)
    found = ipaddress.IPv6Address(raw)
    return str(found.ipv4_mapped or found)


def port_of(number):
    return int.from_bytes(int(number).to_bytes(2, "little"), "big")


def service_keys(loom):
    """{(address, port, protocol): value} of lb_services."""
    return {(address_of(row["key"]["addr"]), port_of(row["key"]["port"]), row["key"]["proto"]): row["value"]
            for row in dump(loom, "lb_services")}


def wanted_keys(services):
    keys = set()
    for service in services:
        protocols = service.get("protocol", "tcp")
        protocols = [protocols] if isinstance(protocols, str) else protocols
        for address in service["addresses"]:
            address = str(ipaddress.ip_address(address))
            keys.add((address, 0, ICMP))
            keys |= {(address, port, TCP if protocol == "tcp" else UDP)
                     for protocol in protocols for port in service["ports"]}
    return keys


def rows(loom):
    """{row: backend} of those in use."""
    found = {}
    for row in dump(loom, "lb_backends"):
        value = row["value"]
        if STATES[value["state"]] != "unused":
            found[row["key"]] = {"address": address_of(value["addr"]), "port": port_of(value["port"]),
                                 "id": value["id"], "state": STATES[value["state"]], "table": value["service"]}
    return found


def slots(loom, table):
    """How many slots of a table each row has."""
    for row in loom.map_dump("lb_tables"):
        key = row.get("formatted", row)["key"]
        if (key if isinstance(key, int) else int(key[0], 16) + 256 * int(key[1], 16)) != table:
            continue
        inner = row.get("inner_map_id") or row.get("value") or row["formatted"]["value"]
        inner = inner if isinstance(inner, int) else int.from_bytes(bytes(int(b, 16) for b in inner), "little")
        entries = json.loads(run("bpftool", "-j", "map", "dump", "id", inner).stdout)
        values = [e.get("formatted", e)["value"] for e in entries]
        values = [v if isinstance(v, int) else int.from_bytes(bytes(int(b, 16) for b in v), "little") for v in values]
        return collections.Counter(values)
    raise LabError(f"lb_tables has no row {table}")


def check_backends(loom, listed, kernel):
    for row in kernel.values():
        match = [b for b in listed if b["id"] == row["id"]]
        if len(match) != 1 or (match[0]["address"], match[0]["port"] or 0) != (row["address"], row["port"]):
            raise LabError(f"row {row} is backend {match} of the API")
    ids = [row["id"] for row in kernel.values()]
    if sorted(ids) != sorted(b["id"] for b in listed):
        raise LabError(f"rows {sorted(ids)}, backends {sorted(b['id'] for b in listed)}")


def may_get_new(backend):
    return backend["state"] == "active" and backend["weight"] > 0


def check_tables(loom, listed, kernel, keys):
    """Each table holds exactly the rows of its service's backends that may get new connections."""
    for (address, port, proto), value in keys.items():
        if proto == ICMP:
            continue
        family = ipaddress.ip_address(address).version
        found = slots(loom, value["table"])
        names = {b["service"] for row in kernel.values() for b in listed
                 if row["table"] == value["table"] and b["id"] == row["id"]}
        wanted = {row for row, k in kernel.items() for b in listed
                  if b["id"] == k["id"] and b["service"] in names and may_get_new(b)
                  and ipaddress.ip_address(b["address"]).version == family}
        if set(found) - {0} != wanted or (wanted and 0 in found):
            raise LabError(f"{address}:{port}/{proto}: slots {dict(found)}, wanted rows {sorted(wanted)}")
        if sum(found.values()) != value["table_size"]:
            raise LabError(f"{address}:{port}/{proto}: {sum(found.values())} slots of {value['table_size']}")


def check(loom, services):
    """Raises LabError unless the maps say what the configuration's services and the API's backends say."""
    listed = loom.api("GET", "/ebpf/backends")["backends"]
    keys = service_keys(loom)
    if set(keys) != wanted_keys(services):
        raise LabError(f"services: too many {set(keys) - wanted_keys(services)}, too few {wanted_keys(services) - set(keys)}")
    kernel = rows(loom)
    check_backends(loom, listed, kernel)
    check_tables(loom, listed, kernel, keys)


def holdings(pid):
    """Descriptors by kind, and resident kilobytes, of a process."""
    import os
    import pathlib

    kinds = collections.Counter()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            kinds[os.readlink(fd).split(":")[0].split("/")[0] or "file"] += 1
        except OSError:
            continue
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return sum(kinds.values()), dict(kinds), kb
