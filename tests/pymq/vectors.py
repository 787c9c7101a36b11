"""Reads pairs of bodies, PyMQ's own and ours, and says whether both give equal objects."""

import os
import sys
from typing import Dict, List, NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from peer_side import say, told  # noqa: E402
from pymq.core import RpcRequest, RpcResponse  # noqa: E402
from pymq.json import DeepDictDecoder, loads  # noqa: E402


class Payload(NamedTuple):
    name: str
    value: int


class Comparable:
    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)


class MyEvent(Comparable):
    pass


class EventWithPayload(Comparable):
    payload: Payload

    def __init__(self, payload=None):
        self.payload = payload


class Order(Comparable):
    id: str
    items: List[str]
    meta: Dict[str, int]

    def __init__(self, id, items, meta):
        self.id, self.items, self.meta = id, items, meta


def read(text, kind):
    if kind == "request":
        return loads(text, cls=DeepDictDecoder.for_type(RpcRequest))
    if kind == "response":
        return loads(text, cls=DeepDictDecoder.for_type(RpcResponse))
    value = loads(text, cls=DeepDictDecoder)
    if kind == "loop":
        event_type, channel, payload = value
        return [type(value), event_type, channel, plain(read(payload, "value"))]
    return value


def plain(value):
    """A tuple is an array in JavaScript, and comes back as a list."""
    return list(value) if type(value) is tuple else value


say("ready")
for kind, theirs, ours in told():
    a, b = read(theirs, kind), read(ours, kind)
    say(True if plain(a) == plain(b) else [repr(a), repr(b)])
