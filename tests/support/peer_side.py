"""The side of a Python process that a `Peer` started."""

import json
import sys


def say(value=None):
    """Says a value to the test."""
    sys.stdout.write("@" + json.dumps(value) + "\n")
    sys.stdout.flush()


def told():
    """What the test tells, until it closes this end or is gone."""
    for line in sys.stdin:
        yield json.loads(line)
