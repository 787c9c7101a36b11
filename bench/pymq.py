"""
The measured process with PyMQ in it: works by the commands of `subject.ts`, one JSON line each on stdin, one line of figures
each on stdout. `python pymq.py redis://…` or `python pymq.py ipc`. CPU is that of the whole process: PyMQ works in threads.
"""

import json
import sys
import threading
import time

# this file's own name is PyMQ's
sys.path.pop(0)

import pymq  # noqa: E402

where = sys.argv[1]


def factory():
    if where == "ipc":
        from pymq.provider.ipc import IpcEventBus

        return IpcEventBus("bench")
    import redis
    from pymq.provider.redis import RedisEventBus

    return RedisEventBus("bench", rds=redis.Redis.from_url(where, decode_responses=True))


def order(id):
    items = ["espresso", "croissant", "orange juice"]
    return {"id": id, "customer": "c7f1a9e2-4b6d", "items": items, "total": 17.45, "paid": True}


def now():
    return time.perf_counter() * 1000, time.process_time() * 1000


def since(start):
    end = now()
    return {"ms": end[0] - start[0], "cpu": end[1] - start[1]}


class Arrivals:
    """Counts events until the expected number is there."""

    def __init__(self):
        self.expect(0)

    def expect(self, count):
        self.expected, self.seen, self.figures = count, 0, None
        self.arrived = threading.Event()

    def handle(self, event):
        if self.seen == 0:
            self.start = now()
        self.seen += 1
        if self.seen == self.expected:
            self.figures = since(self.start)
            self.arrived.set()


arrivals = Arrivals()


def publish(count, topic):
    for i in range(count):
        pymq.publish(order(i), topic)


def queued(count, concurrency):
    def repeat(work):
        for _ in range(count // concurrency):
            work()

    threads = []
    for i in range(concurrency):
        for work in (lambda: pymq.queue("bench:queue").put(order(i)), lambda: pymq.queue("bench:queue").get()):
            threads.append(threading.Thread(target=repeat, args=(work,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def work(command):
    verb, start = command["verb"], now()
    if verb == "subscribe":
        for topic in command["topics"]:
            pymq.subscribe(arrivals.handle, topic)
        time.sleep(0.3)  # PyMQ does not say when a subscription is there
        return {}
    if verb == "expect":
        arrivals.expect(command["count"])
        return {}
    if verb == "received":
        arrivals.arrived.wait()
        return arrivals.figures
    if verb == "published":
        publish(command["count"], command["topic"])
        return since(start)
    if verb == "looped":
        arrivals.expect(command["count"])
        publish(command["count"], command["topic"])
        arrivals.arrived.wait()
        return since(start)
    if verb == "queued":
        queued(command["count"], command["concurrency"])
        return since(start)
    if verb == "serve":
        pymq.expose(lambda order: order, "bench:function")
        time.sleep(0.3)
        return {}
    if verb == "called":
        stub, latencies = pymq.stub("bench:function", timeout=10), []
        for i in range(command["count"]):
            before = time.perf_counter()
            stub(order(i))
            latencies.append((time.perf_counter() - before) * 1000)
        return dict(since(start), latencies=latencies)
    raise ValueError("PyMQ cannot do " + verb)


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


pymq.init(factory)
work({"verb": "subscribe", "topics": ["started"]})
say({})
for line in sys.stdin:
    say(work(json.loads(line)))
pymq.shutdown()
