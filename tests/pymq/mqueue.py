"""
The mqueue file system at /dev/mqueue, without which PyMQ finds no queue: where it is not mounted, this process mounts it
for itself alone, in a mount namespace of its own. As a program: prints the kernel's queues, or fails and says why.
"""

import ctypes
import os

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
    mount()
    os.makedirs("/run/shm", exist_ok=True)  # as PyMQ does; the bus must find it when it opens
    print("\n".join(os.listdir(PATH)))
