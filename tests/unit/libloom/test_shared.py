#!/usr/bin/env python3
"""libloom.so as an application gets it: what it exports and needs, and a member by it alone."""
import ctypes
import re
import socket
import subprocess
import sys
import unittest

LIBRARY = sys.argv.pop(1)


class Shared(unittest.TestCase):
    def test_it_exports_its_own_names_alone_and_needs_the_c_library_alone(self):
        names = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True).stdout
        for name in re.findall(r" [TBDR] (\S+)", names):
            self.assertRegex(name, r"^loom_(steer|wg)_\w+@@LOOM_0$")
        self.assertIn(" T loom_steer_join@@LOOM_0", names)
        self.assertIn(" T loom_wg_demux@@LOOM_0", names)
        dynamic = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout
        self.assertIn("Library soname: [libloom.so.0]", dynamic)
        needed = re.findall(r"NEEDED.*\[(.*?)\]", dynamic)
        self.assertEqual([n for n in needed if not re.match(r"lib(c|asan|ubsan)\.so", n)], [])

    def test_an_application_without_loomd_is_a_plain_member(self):
        if "asan" in subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True).stdout:
            self.skipTest("an interpreter without the sanitizers cannot load it")
        loom = ctypes.CDLL(LIBRARY)
        loom.loom_steer_error.restype = ctypes.c_char_p

        class Options(ctypes.Structure):
            _fields_ = [("size", ctypes.c_size_t), ("group", ctypes.c_char_p), ("label", ctypes.c_char_p),
                        ("socket", ctypes.c_char_p), ("weight", ctypes.c_uint32), ("generation", ctypes.c_uint32),
                        ("timeout_ms", ctypes.c_uint32), ("retry_ms", ctypes.c_uint32)]

        options = Options(ctypes.sizeof(Options), b"dns", None, b"/nonexistent/steer")
        steer = ctypes.c_void_p()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as member:
            self.assertLess(loom.loom_steer_join(ctypes.byref(steer), ctypes.byref(options), member.fileno()), 0)
            member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            member.bind(("127.0.0.1", 0))
            self.assertEqual(loom.loom_steer_join(ctypes.byref(steer), ctypes.byref(options), member.fileno()), 0)
            self.assertEqual(loom.loom_steer_ready(steer), 0)
            self.assertEqual(loom.loom_steer_state(steer), 0)
            self.assertIn(b"cannot reach loomd at /nonexistent/steer", loom.loom_steer_error(steer))
            loom.loom_steer_close(steer)


unittest.main()
