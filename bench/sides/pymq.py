"""PyMQ doing the work of subject.ts: a command a line on stdin, a line of figures each on stdout."""

import json
import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

# in place of where this file is, whose name is PyMQ's
sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "pymq")

import mqueue  # noqa: E402
import pymq  # noqa: E402

group, url = sys.argv[1:3]
if group == "ipc":
    mqueue.mount()
# PyMQ's calls block: so many threads stand for the promises of the others
THREADS = 8


def factory():
    if group == "ipc":
        from pymq.provider.ipc import IpcEventBus

        return IpcEventBus("benchpymq")
    import redis
    from pymq.provider.redis import RedisEventBus

    return RedisEventBus("bench-pymq", rds=redis.Redis.from_url(url, decode_responses=True))


def order(i):
    items = ["espresso", "croissant", "orange juice"]
    return {"id": i, "customer": "c7f1a9e2-4b6d", "items": items, "total": 17.45, "paid": True}


def now():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (usage.ru_utime + usage.ru_stime) * 1000
    return {"ms": time.perf_counter() * 1000, "cpu": cpu, "all": cpu}


def since(start):
    end = now()
    return {key: end[key] - start[key] for key in end}


class Arrivals:
    def __init__(self):
        self.expected, self.seen, self.start, self.figures = 0, 0, None, None
        self.done = threading.Event()

    def expect(self, count):
        self.expected, self.seen = count, 0
        self.done.clear()

    def take(self, _event):
        if self.seen == 0:
            self.start = now()
        self.seen += 1
        if self.seen == self.expected:
            self.figures = since(self.start)
            self.done.set()


arrivals = Arrivals()


def echo(value):
    return value


def queued(count):
    queue = pymq.queue("bench")
    each = count // THREADS

    def put():
        for i in range(each):
            queue.put(order(i))

    def get():
        for _ in range(each):
            queue.get()

    with ThreadPoolExecutor(2 * THREADS) as pool:
        for done in [pool.submit(work) for _ in range(THREADS) for work in (put, get)]:
            done.result()


def run(command):
    verb = command["verb"]
    start = now()
    if verb == "subscribe":
        for topic in command["topics"]:
            pymq.subscribe(arrivals.take, topic)
        time.sleep(0.2)  # it does not say when a subscription is there
    elif verb == "expect":
        arrivals.expect(command["count"])
    elif verb == "received":
        arrivals.done.wait()
        return arrivals.figures
    elif verb == "published":
        for i in range(command["count"]):
            pymq.publish(order(i), command["topic"])
        return since(start)
    elif verb == "queued":
        queued(command["count"])
        return since(start)
    elif verb == "serve":
        pymq.expose(echo, "bench")
        time.sleep(0.2)
    elif verb == "called":
        stub, latencies = pymq.stub("bench", timeout=10), []
        for i in range(command["count"]):
            before = time.perf_counter()
            stub(order(i))
            latencies.append((time.perf_counter() - before) * 1000)
        return {**since(start), "latencies": latencies}
    return {}


def say(value):
    print(json.dumps(value), flush=True)


pymq.init(factory)
pymq.subscribe(lambda event: None, "started")
say({})
for line in sys.stdin:
    say(run(json.loads(line)))
threading.Timer(2, os._exit, [0]).start()  # its threads may not end
pymq.queue("bench").free()
pymq.shutdown()
os._exit(0)
