"""
The mqueue file system at /dev/mqueue, without which PyMQ finds no queue: where it is not mounted, this process mounts it
for itself alone, in a mount namespace of its own. As a program: says the kernel's queues whenever it is asked, or fails
and prints why.
"""

import ctypes
import os
import sys

CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | (1 << 18)
PATH = "/dev/mqueue"


def mount():
    """Makes sure that it is there, for this process and those that it starts."""
    if os.path.ismount(PATH):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.unshare(CLONE_NEWNS), "have a mount namespace of its own")
    check(libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "make its mounts private")
    os.makedirs(PATH, exist_ok=True)
    check(libc.mount(b"none", PATH.encode(), b"mqueue", 0, None), "mount mqueue at " + PATH)


def check(result, what):
    if result != 0:
        raise SystemExit("this user may not %s: %s" % (what, os.strerror(ctypes.get_errno())))


if __name__ == "__main__":
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
    from peer_side import say, told

    mount()
    os.makedirs("/run/shm", exist_ok=True)  # as PyMQ does; the bus must find it when it opens
    for _ in told():
        say(os.listdir(PATH))
