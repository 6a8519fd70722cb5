"""Writes the archive that Linux unpacks as its first root (driver-api/early-userspace/buffer-format.rst)."""
import os
import stat


class Archive:
    """Files, directories and links by their path in the guest; parents come by themselves."""

    def __init__(self, file):
        self.file = file
        self.seen = {"."}
        self.inode = 0

    def _entry(self, path, mode, data=b"", mtime=0, device=(0, 0)):
        name = path.encode() + b"\0"
        self.inode += 1
        numbers = (self.inode, mode, 0, 0, 1, int(mtime), len(data), 0, 0, *device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        self.file.write(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))

    def _new(self, path):
        path = path.strip("/")
        if path in self.seen:
            return None
        self.seen.add(path)
        parent = os.path.dirname(path)
        if parent:
            self.directory(parent)
        return path

    def directory(self, path):
        path = self._new(path)
        if path:
            self._entry(path, stat.S_IFDIR | 0o755)

    def link(self, path, target):
        path = self._new(path)
        if path:
            self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor):
        path = self._new(path)
        if path:
            self._entry(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def data(self, path, data, mode=0o644, mtime=0):
        path = self._new(path)
        if path:
            self._entry(path, stat.S_IFREG | mode, data, mtime)

    def copy(self, source, path):
        """Its time is kept: Python's compiled files are valid for the sources of that time only."""
        info = os.stat(source)
        with open(source, "rb") as file:
            self.data(path, file.read(), stat.S_IMODE(info.st_mode), info.st_mtime)

    def close(self):
        self._entry("TRAILER!!!", 0)
