/**
 * The sending half of an IPC bus, on the user's thread.
 *
 * @module
 */
import { ClosedError, inWords } from "../../errors.ts";
import { warnOnce } from "../../internal/complain.ts";
import { PendingWork } from "../../internal/pending_work.ts";
import { TextMap } from "../../internal/text_map.ts";
import { checkCopies } from "../../provider/bindings.ts";
import { writeTopic } from "../../provider/topic_mark.ts";
import type {
  QueueInspector,
  QueuePeeker,
  QueueStats,
  RegisteredServer,
  ReplyQueues,
  Sender,
  SenderContext,
  SendOptions,
  WaitingItem,
  Waker,
} from "../../provider/provider.ts";
import { AnswerQueues } from "./answer_queues.ts";
import { countItems, countWaiting } from "./counts.ts";
import { check } from "./errors.ts";
import { queueDirectory } from "./items.ts";
import { Leases } from "./leases.ts";
import { inboxOf } from "./names.ts";
import { GONE, Outbox, type Outgoing } from "./outbox.ts";
import { Errno } from "./errno.ts";
import { ItemSender } from "./item_sender.ts";
import { Namespace, type Settings } from "./namespace.ts";
import type { Destination, Route } from "./subscriptions.ts";
import { inParts } from "./walk.ts";
import type { TellingWorkers, WorkerThread } from "./worker_thread.ts";

/**
 * Milliseconds for which a PyMQ bus may read nothing before it counts as dead if no process here has its pid: then the cleanup too finds
 * that nobody reads its queue.
 */
const PYMQ_STUCK = 1_250;
/** The longest time in milliseconds that an answer to PyMQ waits for room. */
const ANSWER_WAIT = 5_000;

/** Milliseconds after which the queue of an unread answer to PyMQ is removed: a live caller reads it immediately. */
const ANSWER_LIFE = 5_000;
/** Milliseconds after which the queue of an unread answer to PyMQ is removed when this bus closes. */
const UNREAD = 250;

/** Milliseconds within which overflow is announced once. A bus that has found overflow checks for more during the next second. */
const OVERFLOW_TOLD = 500;

/** Opens the sending half. */
export async function openSender(settings: Settings, workers: TellingWorkers, context: SenderContext): Promise<Sender> {
  let asked = false;
  const onDead = () => {
    if (asked) return;
    asked = true;
    // if the worker cannot clean up, the next bus that finds a dead bus does
    void context.ask("cleanup", undefined).catch(() => {}).finally(() => asked = false);
  };
  const namespace = await Namespace.open(settings, context.namespace, onDead);
  const refused = namespace.pymqRefused;
  if (refused) warnOnce(`PyMQ ${refused.message}`, `PyMQ cannot be reached over topics. ${refused.message}`);
  return new IpcSender(namespace, settings, workers, context, onDead);
}

class IpcSender implements Sender, QueueInspector, Waker {
  readonly inspector: QueueInspector = this;
  readonly peeker: QueuePeeker;
  readonly waker: Waker = this;
  readonly replies: ReplyQueues;
  #namespace: Namespace;
  #workers: TellingWorkers;
  #outbox: Outbox;
  #itemSender: ItemSender;
  #answerQueues: AnswerQueues;
  #leases: Leases;
  /** The routes that were looked up in this turn, by topic. */
  #routes = new Map<string, Route>();
  /**
   * The numbers of buses that the events of this turn reach by name, by topic. An event may wait for room in a queue, and the bus may close
   * meanwhile.
   */
  #reached = new Map<string, Promise<number | undefined>>();
  /** The worker that was last woken: that of this bus's receiver. */
  #worker: WorkerThread | undefined;
  /** The removal of workers that were replaced, and of the files of queues. */
  #removing = new PendingWork();
  #closed = false;
  #sendTimeout: number;
  /** The timers that remove the queues of unread answers to PyMQ, by queue. */
  #answers = new TextMap<ReturnType<typeof setTimeout>>();

  constructor(
    namespace: Namespace,
    settings: Settings,
    workers: TellingWorkers,
    context: SenderContext,
    onDead: () => void,
  ) {
    this.#namespace = namespace;
    this.#workers = workers;
    this.#sendTimeout = context.sendTimeout;
    const writable = (descriptor: number, ms: number) => context.ask("writable", [descriptor, ms]);
    this.#outbox = new Outbox({
      posix: namespace.posix,
      queues: namespace.queues,
      bodyFiles: namespace.bodyFiles,
      sendTimeout: context.sendTimeout,
      directory: (bus) => namespace.busDirectory(bus),
      gone: (bus, stuck) => {
        // the name of a PyMQ bus does not hold its pid namespace: only if nobody reads its queue is it dead
        if (!namespace.gone(bus, stuck < PYMQ_STUCK ? "dead" : "missing")) return false;
        onDead();
        return true;
      },
      closed: (bus) =>
        namespace.gone(bus, "dead") ||
        namespace.directories.stat(namespace.busDirectory(bus)) === -Errno.ENOENT,
      writable,
    });
    this.peeker = {
      peek: async (queue, ...range) =>
        await context.ask("peek", [namespace.names.queue(queue), ...range]) as WaitingItem[],
    };
    this.#answerQueues = new AnswerQueues(namespace.queues);
    this.#leases = new Leases(namespace, "");
    let told = -Infinity;
    const overflowed = () => {
      if (performance.now() - told < OVERFLOW_TOLD) return;
      told = performance.now();
      namespace.waiting.wakeAll(namespace.buses());
    };
    this.#itemSender = new ItemSender(namespace, settings, { key: () => this.#leases.key(), writable, overflowed });
    this.replies = {
      lingers: false,
      open: (queue) => this.#answerQueues.open(namespace.names.queue(queue)),
      candidates: async (topic) => {
        const reached = this.#reached.get(topic);
        await undefined; // the events of this turn are sent first, which shows whose queues are gone
        return reached ?? this.#route(topic).exact;
      },
      put: (queue, body) => this.#answer(namespace.names.queue(queue), body),
      // deno-lint-ignore require-await
      register: async (topic, inbox) => namespace.subscriptions.register(topic, inbox),
    };
  }

  publish(topic: string, body: string): Promise<number> {
    let route: Route;
    try {
      route = this.#route(topic);
      checkCopies(route.queues.size, body, route.destinations.length);
    } catch (error) {
      return Promise.reject(inWords(`publish to "${topic}"`, error));
    }
    return route.queues.size === 0 ? this.#deliver(topic, body, route) : this.#store(topic, body, route);
  }

  /**
   * Publishes an event, and puts it into the queues of groups. If such a queue is full, it waits until members have handled earlier events.
   */
  async #store(topic: string, body: string, route: Route): Promise<number> {
    const { names } = this.#namespace;
    const puts = [...route.queues].map(([queue, marked]) => {
      const item = writeTopic(body, marked ? topic : undefined);
      return this.#itemSender.put(queue, names.queue(queue), item, { wait: this.#sendTimeout }).catch((error) => {
        throw inWords(`publish to "${topic}"`, error);
      });
    });
    const [reached] = await Promise.all([this.#deliver(topic, body, route), ...puts]);
    return reached;
  }

  #deliver(topic: string, body: string, { destinations, exact }: Route): Promise<number> {
    if (destinations.length === 0) return Promise.resolve(0);
    const published = new Promise<{ all: number; named: number }>((resolve, reject) => {
      let left = destinations.length;
      const reached = { all: 0, named: exact };
      for (const { count } of destinations) reached.all += count;
      let fault: unknown;
      let queues: ReadonlyMap<string, Destination> | undefined;
      const byQueue = () => queues ??= new Map(destinations.map((each) => [each.queue, each])); // there may be many forged ones
      const done = () => {
        if (--left > 0) return;
        if (fault === undefined) resolve(reached);
        else reject(fault);
      };
      const outgoing: Outgoing = {
        topic,
        body,
        sent: done,
        failed: (queue, error) => {
          const to = byQueue().get(queue);
          if (error !== GONE) fault = error;
          else if (to) {
            reached.all -= to.count;
            if (to.named) reached.named--;
          }
          done();
        },
      };
      for (const destination of destinations) this.#outbox.send(destination, outgoing);
    });
    this.#reached.set(topic, published.then(({ named }) => named, () => undefined));
    return published.then(({ all }) => all);
  }

  post(inbox: string, body: string): Promise<boolean> {
    const { names, processes } = this.#namespace;
    const bus = names.parseBus(inbox);
    if (!bus || bus.pymq || processes.dead(bus)) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      this.#outbox.send({ bus: inbox, queue: inboxOf(inbox), pymq: false }, {
        topic: "",
        body,
        sent: () => resolve(true),
        failed: (_, error) => error === GONE ? resolve(false) : reject(error),
      });
    });
  }

  async servers(topic: string): Promise<RegisteredServer[]> {
    await this.#reached.get(topic);
    return this.#namespace.subscriptions.servers(topic).map((inbox) => ({ inbox }));
  }

  send(queue: string, body: string, options: SendOptions): Promise<void> {
    return this.#itemSender.put(queue, this.#namespace.names.queue(queue), writeTopic(body), options);
  }

  async size(queue: string): Promise<number> {
    return await countWaiting(this.#namespace, this.#leases, this.#namespace.names.queue(queue));
  }

  async stats(queue: string): Promise<QueueStats> {
    return await countItems(this.#namespace, this.#leases, this.#namespace.names.queue(queue));
  }

  async drop(queue: string): Promise<void> {
    const { names, directories, posix, queues } = this.#namespace;
    const name = names.queue(queue);
    queues.use(name); // "denied" if another namespace has a queue of this name
    // its directory moves away first: a bus that creates the queue again puts its files into a new one
    const aside = `queues/~${crypto.randomUUID()}`;
    const moved = directories.rename(queueDirectory(name), aside);
    const unlinked = posix.unlinkQueue(name);
    if (unlinked === -Errno.EACCES) directories.rename(aside, queueDirectory(name)); // another user of the group created it
    check(unlinked, `Cannot remove queue "${queue}"`, Errno.ENOENT);
    this.#leases.forget(name);
    this.#namespace.delayed.refresh(name);
    queues.removed(name);
    this.#answerQueues.removed(name);
    this.#itemSender.removed(name);
    if (moved === 0) await this.#removing.track(this.#remove(aside));
    else directories.prune("queues");
  }

  /** Removes the files of a queue, a part at a time. */
  async #remove(directory: string): Promise<void> {
    const { directories } = this.#namespace;
    await inParts(directories.remove(directory));
    directories.prune("queues");
  }

  wake(inbox: string): void {
    if (inbox !== this.#worker?.bus) {
      // the worker was replaced: the old bus looks alive, because this process is alive
      if (this.#worker) void this.#removing.track(this.#worker.remove());
      this.#worker = this.#workers.take(this.#namespace, inbox);
    }
    this.#worker.wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const [queue, timer] of this.#answers) this.#expire(queue, timer);
    const closed = new ClosedError();
    this.#outbox.close();
    this.#itemSender.close(closed);
    this.#answerQueues.close(closed);
    // a receiver that was terminated has removed nothing, and its bus looks alive as long as this process lives
    await Promise.all([this.#worker?.remove(), this.#removing.idle()]);
    this.#namespace.close();
  }

  async #answer(queue: string, body: string): Promise<void> {
    await this.#itemSender.answer(queue, body, ANSWER_WAIT);
    if (this.#closed) return;
    clearTimeout(this.#answers.get(queue));
    const timer = setTimeout(() => this.#expire(queue, timer), ANSWER_LIFE);
    this.#answers.set(queue, timer);
  }

  /** Removes the queue of an answer that was not read. A live caller would have removed it. */
  #expire(queue: string, timer: ReturnType<typeof setTimeout>): void {
    clearTimeout(timer);
    this.#answers.delete(queue);
    const { posix, queues } = this.#namespace;
    if (queues.readers(queue, UNREAD) === "none") posix.unlinkQueue(queue);
  }

  #route(topic: string): Route {
    const known = this.#routes.get(topic);
    if (known) return known;
    // first: on Deno, the first hash of a process runs microtasks, because it loads `node:crypto`
    const route = this.#namespace.subscriptions.route(topic);
    // the subscribers are looked up once in each turn, not for each event
    if (this.#routes.size === 0) {
      queueMicrotask(() => {
        this.#routes.clear();
        this.#reached.clear();
      });
    }
    this.#routes.set(topic, route);
    return route;
  }
}
