"""The guest's root: what the tests run, the libraries that it needs, and the modules of one kernel."""
import functools
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from cpio import Archive

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GUEST = "loom"  # the project's root in the guest
# dash, because busybox's shell prefers its own ip(8).
PROGRAMS = ["sh", "ip", "bridge", "ethtool", "bpftool", "nft", "sysctl", "nginx", "haproxy", "unbound", "curl",
            "bash", "ss", "ps", "pgrep", "setpriv", "kmod", "mount", "umount", "nsenter", "/usr/bin/python3"]
PACKAGES = ["_pytest", "pytest", "py.py", "pluggy", "iniconfig", "attr", "attrs", "packaging", "yaml"]
# What Python brings and no test needs.
SKIPPED = {"test", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "tkinter", "turtledemo", "distutils"}
MODULES = ["veth", "bridge", "8021q", "dummy", "ipip", "ip6_tunnel", "sit", "fou", "fou6", "nft_chain_nat", "nft_nat",
           "nft_masq", "nft_numgen", "nft_ct", "sch_netem", "tcp_diag", "udp_diag"]


def run(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout


class Userland:
    """Copies programs of this machine, each with the shared libraries it is linked with."""

    def __init__(self, archive):
        self.archive = archive
        for name in ("bin", "sbin", "lib", "lib64"):
            archive.link(name, f"usr/{name}")

    def add(self, path):
        """One file, and what its name is a link to.  The directory's own links are resolved: /lib is /usr/lib."""
        path = pathlib.Path(path)
        path = path.parent.resolve() / path.name
        if path.is_symlink():
            self.archive.link(str(path), os.readlink(path))
            self.add(path.parent / os.readlink(path))
        elif str(path).strip("/") not in self.archive.seen:
            self.archive.copy(path, str(path))

    def libraries(self, path):
        for library in needed(str(path)):
            self.add(library)

    def program(self, name):
        path = name if "/" in name else shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            raise SystemExit(f"cannot find {name}; run 'tools/deps kernels'")
        self.add(path)
        self.libraries(path)

    def tree(self, top):
        for path in sorted(pathlib.Path(top).rglob("*")):
            if path.is_file() and not SKIPPED & set(path.relative_to(top).parts):
                self.add(path)
                if path.suffix == ".so":
                    self.libraries(path)


@functools.cache
def needed(path):
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    return re.findall(r"(/\S+) \(0x", done.stdout)


def python(userland):
    """Debian's Python with pytest, as the end-to-end tests need it."""
    version = run("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    userland.tree(f"/usr/lib/python{version}")
    for name in PACKAGES:
        path = pathlib.Path("/usr/lib/python3/dist-packages", name)
        if path.is_dir():
            userland.tree(path)
        else:
            userland.add(path)
    # pluggy and pytest ask for their own versions.
    for path in pathlib.Path("/usr/lib/python3/dist-packages").glob("p*y*-*-info"):
        if path.name.startswith(("pytest-", "pluggy-")):
            userland.tree(path)


def objects(directory):
    """The end-to-end tests compile what they need of C and BPF; there is no compiler in the guest."""
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    for source in sorted((ROOT / "tests/net").glob("*.bpf.c")):
        built = pathlib.Path(directory, source.name.replace(".bpf.c", ".o"))
        run("clang", "-O2", "-g", "-target", "bpf", include, "-c", source, "-o", built)
        yield built
    for name in ("steer_load", "steer_wg"):
        built = pathlib.Path(directory, name)
        run("cc", "-O2", "-pthread", "-o", built, ROOT / f"tests/net/{name}.c")
        yield built


def project(archive, userland, build):
    for pattern in ("tests/net/*", "tests/kernels/*", "tests/bpf/verify.budget", "docs/guides/*"):
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                archive.copy(path, f"{GUEST}/{path.relative_to(ROOT)}")
    built = [build / "loomd", build / "loom", build / "tests/net/steer_member", *sorted((build / "src").rglob("*.bpf.o")),
             *sorted((build / "bench").rglob("*.bpf.o"))]
    for folder in ("bpf", "unit/sys", "unit/planes/steer"):
        built += [path for path in sorted((build / "tests" / folder).iterdir()) if path.is_file()]
    for path in built:
        archive.copy(path, f"{GUEST}/build/{path.relative_to(build)}")
        if path.suffix != ".o":
            userland.libraries(path)
    with tempfile.TemporaryDirectory() as directory:
        for path in objects(directory):
            archive.copy(path, f"{GUEST}/objects/{path.name}")


def modules(archive, kernel):
    """MODULES and what they depend on, decompressed, where modprobe finds them."""
    version = kernel.version
    run("depmod", "-b", kernel.path, version)
    chosen = set()
    for name in MODULES:
        for line in run("modprobe", "-d", kernel.path, "-S", version, "--show-depends", name).splitlines():
            if line.startswith("insmod "):
                chosen.add(pathlib.Path(line.split()[1]))
    with tempfile.TemporaryDirectory() as directory:
        top = pathlib.Path(directory, "lib/modules", version)
        top.mkdir(parents=True)
        for path in chosen:
            data = path.read_bytes()
            (top / path.name.removesuffix(".xz")).write_bytes(lzma.decompress(data) if path.suffix == ".xz" else data)
        for path in (kernel.path / "lib/modules" / version).glob("modules.builtin*"):
            shutil.copy(path, top)
        run("depmod", "-b", directory, version)
        for path in sorted(top.iterdir()):
            archive.copy(path, f"usr/lib/modules/{version}/{path.name}")


def write(file, kernel, build, arguments):
    """The whole archive; arguments are for pytest."""
    archive = Archive(file)
    userland = Userland(archive)
    archive.data("init", (HERE / "init").read_bytes(), 0o755)
    archive.device("dev/console", 5, 1)
    for name in ("proc", "sys", "run", "tmp", "var/log/nginx", "var/lib/nginx", "root"):
        archive.directory(name)
    archive.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    archive.data("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    archive.data("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    userland.add("/usr/bin/busybox" if os.path.exists("/usr/bin/busybox") else "/bin/busybox")
    for name in PROGRAMS:
        userland.program(name)
    archive.link("usr/sbin/modprobe", "../bin/kmod")
    python(userland)
    project(archive, userland, build)
    modules(archive, kernel)
    archive.data(f"{GUEST}/arguments", "\n".join(arguments).encode())
    archive.close()
