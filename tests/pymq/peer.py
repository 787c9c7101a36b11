"""A service on PyMQ. The test tells it what to do, one command a line; values are Python expressions."""

import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]

import mqueue  # noqa: E402
import pymq  # noqa: E402
from peer_side import say, told  # noqa: E402
from pymq.core import Empty  # noqa: E402
from pymq.typing import fullname  # noqa: E402
from typing import Dict, List, Set  # noqa: E402
from shop.events import Bag, Basket, Holder, Line, OrderPlaced, OutOfStock, When, Whole  # noqa: E402

where, namespace, name = sys.argv[1:4]
if where == "ipc":
    mqueue.mount()


def factory():
    if where == "ipc":
        from pymq.provider.ipc import IpcEventBus

        return IpcEventBus(namespace)
    import redis
    from pymq.provider.redis import RedisEventBus

    return RedisEventBus(namespace, rds=redis.Redis.from_url(where, decode_responses=True))


def show(value):
    """A value with its Python type, so that the test sees what Python has."""
    if isinstance(value, (OrderPlaced, Basket, Holder, When, Whole, Bag)):
        return {"type": fullname(value), "value": {k: show(v) for k, v in vars(value).items()}}
    if isinstance(value, Line):
        return {"type": fullname(value), "value": [show(v) for v in value]}
    if isinstance(value, (list, tuple, set)):
        items = [show(v) for v in value]
        return {"type": fullname(value), "value": sorted(items, key=repr) if isinstance(value, set) else items}
    if isinstance(value, dict):
        return {"type": "dict", "value": {k: show(v) for k, v in value.items()}}
    return {"type": fullname(value), "value": repr(value)}


def add(a: int, b: int) -> int:
    return a + b


def whoami():
    # over IPC PyMQ's caller makes its answer queue after it has asked: a server that is quicker drops the answer
    time.sleep(0.05)
    return name


def nothing():
    return None


def order(id: str, total: float) -> OrderPlaced:
    return OrderPlaced(id, total, ["new"], {"n": 1})


def total_of(order: OrderPlaced) -> float:
    return order.total


def basket() -> Basket:
    return Basket([Line("soap", 2), Line("bread", 1)])


def same(value):
    return value


def tagged_with(tags: Set[str]) -> int:
    assert type(tags) is set
    return len(tags)


def year(at: str) -> str:
    return at[:4]


def total(counts: Dict[str, int]) -> int:
    return sum(v for v in counts.values() if v is not None)


def kind_of(value, other="absent"):
    return [type(value).__name__, type(other).__name__]


def when() -> When:
    return When("2026-01-02T03:04:05.000Z")


def boom(text: str):
    raise OutOfStock(text, 3)


def slow(seconds: float):
    time.sleep(seconds)
    return "late"


def never():
    threading.Event().wait()


def evaluate(expression):
    return eval(expression, globals())  # the test is the only one who tells


def call(command):
    stub = pymq.stub(command["fn"], timeout=command.get("timeout", 10), multi=command.get("multi", False))
    try:
        result = stub(*[evaluate(arg) for arg in command.get("args", [])])
    except Exception as e:
        return {"error": fullname(e), "args": [str(a) for a in e.args]}
    if command.get("multi"):
        return {"results": [str(r) if isinstance(r, Exception) else show(r) for r in result]}
    return show(result)


def get(command):
    try:
        return show(pymq.queue(command["queue"]).get(timeout=command.get("timeout", 10)))
    except Empty:
        return {"empty": True}


def run(command):
    do = command["do"]
    if do == "subscribe":
        heard = lambda event: say({"event": show(event)})  # noqa: E731
        if "hint" in command:
            def heard(event):
                say({"event": show(event)})

            heard.__annotations__["event"] = evaluate(command["hint"])
        pymq.subscribe(heard, command["channel"], command.get("pattern", False))
        time.sleep(0.2)  # PyMQ does not say when a subscription is there
        return True
    if do == "expose":
        pymq.expose(evaluate(command["fn"]), command.get("as", command["fn"]))
        time.sleep(0.2)
        return True
    if do == "publish":
        return pymq.publish(evaluate(command["value"]), command.get("channel"))
    if do == "put":
        pymq.queue(command["queue"]).put(evaluate(command["value"]))
        return True
    if do == "get":
        return get(command)
    if do == "qsize":
        return pymq.queue(command["queue"]).qsize()
    if do == "show":
        return [show(evaluate(value)) for value in command["values"]]
    if do == "call":
        return call(command)
    raise ValueError(do)


pymq.init(factory)
time.sleep(0.3)
say({"ready": name})
for command in told():
    say({"done": run(command)})
pymq.shutdown()
os._exit(0)
