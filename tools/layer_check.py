#!/usr/bin/env python3
"""Holds the layer rule of ARCHITECTURE.md: a file includes only lower layers and its own folder."""
import pathlib
import re
import sys

LAYER = {
    "abi": 0, "base": 1, "libloom": 1, "sys": 2, "config": 3, "model": 4, "planes": 5, "health": 5,
    "observe": 6, "admin": 7, "loomd": 8, "loom": 8,
}
# What a source includes of our own: "folder/file.h", or "file.h" beside it.
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
GENERATED = re.compile(r'\.skel\.h$')


def folder_of(path):
    """'planes/lb' for a plane's file, 'base' for base/addr.c."""
    parts = path.parts[:-1]
    return "/".join(parts[:2]) if parts[0] == "planes" else parts[0]


def complaint(src, path, include):
    own = folder_of(path)
    if GENERATED.search(include):
        return None
    if "/" not in include:
        return None if (src / path.parent / include).exists() else "is not beside it"
    target = pathlib.PurePath(include)
    if not (src / target).exists():
        return "does not exist"
    if target == pathlib.PurePath("planes/plane.h"):
        other = "planes"
    else:
        other = folder_of(target)
    if path.name.endswith((".bpf.c", ".bpf.h")) and other not in ("abi", own):
        return "BPF sources see abi/ and their own folder only"
    if other == own:
        return None
    if own == "abi":
        return "abi/ includes only <linux/types.h>"
    if LAYER[other.split("/")[0]] < LAYER[own.split("/")[0]] or target.name == "plane.h":
        return None
    return f"layer {LAYER[other.split('/')[0]]} is not below {LAYER[own.split('/')[0]]}"


def main():
    src = pathlib.Path(sys.argv[1])
    bad = 0
    for file in sorted([*src.rglob("*.c"), *src.rglob("*.h")]):
        path = file.relative_to(src)
        if path.parts[0] not in LAYER:
            print(f"{path}: folder has no layer; add it to ARCHITECTURE.md and here")
            bad += 1
            continue
        for include in INCLUDE.findall(file.read_text()):
            why = complaint(src, path, include)
            if why:
                print(f'{path}: #include "{include}": {why}')
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
