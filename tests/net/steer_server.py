#!/usr/bin/env python3
"""A server of N workers, each a process with a SO_REUSEPORT socket of its own, which knows nothing of Loom.

TCP workers read a line, answer their number and close; UDP workers answer "NUMBER " and the datagram.
Prints "worker NUMBER PID" for each and "ready".
"""
import argparse
import ctypes
import os
import signal
import socket
import time


def reuseport_socket(args):
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if args.kind == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if args.kind == "tcp" else socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if args.buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, args.buffer)
    sock.bind((args.address, args.port))
    if args.kind == "tcp":
        sock.listen(args.backlog)
    return sock


def serve_tcp(sock, number, work):
    answer = f"{number}\n".encode()
    while True:
        peer, _ = sock.accept()
        try:
            peer.recv(64)
            if work:
                time.sleep(work)
            peer.send(answer)
        except OSError:
            pass
        peer.close()


def serve_udp(sock, number, work):
    head = f"{number} ".encode()
    while True:
        data, peer = sock.recvfrom(65535)
        if work:
            time.sleep(work)
        sock.sendto(head + data, peer)


def worker(args, number):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    sock = reuseport_socket(args)
    os.write(args.ready, b"%d %d\n" % (number, os.getpid()))
    (serve_tcp if args.kind == "tcp" else serve_udp)(sock, number, args.work)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["tcp", "udp"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="the first worker's number")
    parser.add_argument("--backlog", type=int, default=128)
    parser.add_argument("--buffer", type=int, default=0)
    parser.add_argument("--work", type=float, default=0, help="seconds a request takes")
    args = parser.parse_args()
    told, args.ready = os.pipe()
    for number in range(args.first, args.first + args.workers):
        # One after another: the group's order is the order of the numbers.
        if os.fork() == 0:
            try:
                worker(args, number)
            finally:
                os._exit(1)
        number, pid = os.read(told, 64).split()
        print(f"worker {int(number)} {int(pid)}", flush=True)
    print("ready", flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break


if __name__ == "__main__":
    main()
