"""Forks services. It has loaded PyMQ, which takes a new process longer than all that it does in a test."""

import os
import runpy
import signal
import socket
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]

import pymq  # noqa: E402, F401
import redis  # noqa: E402, F401
from peer_side import say, told  # noqa: E402

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no ended service stays as a zombie

for port, *args in told():
    pid = os.fork()
    if pid > 0:
        say(pid)
        continue
    try:
        connection = socket.create_connection(("127.0.0.1", port))
        sys.stdin, sys.stdout = connection.makefile("r"), connection.makefile("w")
        sys.argv[1:] = args
        runpy.run_path(os.path.join(HERE, "peer.py"), run_name="__main__")
    except BaseException:
        traceback.print_exc()
    os._exit(1)
