/**
 * The sending half, on the user's thread.
 *
 * @module
 */
import { ClosedError } from "../../errors.ts";
import type {
  RegisteredServer,
  ReplyQueues,
  Sender,
  SenderContext,
  SendOptions,
  Waker,
} from "../../provider/provider.ts";
import { removeBus } from "./cleanup.ts";
import { check } from "./errors.ts";
import { Leases, queueDirectory } from "./leases.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { GONE, Outbox, type Outgoing } from "./outbox.ts";
import { Errno } from "./errno.ts";
import { ItemSender } from "./item_sender.ts";
import { REPLIES } from "./mqueues.ts";
import { Namespace, type Settings } from "./namespace.ts";
import type { Route } from "./subscriptions.ts";

/** Milliseconds for which a live bus on PyMQ may take nothing, although its pid is none that we know. */
const DEAF = 1_000;
/** Milliseconds that an answer for PyMQ waits for room. */
const ANSWER_WAIT = 5_000;

/** Milliseconds that an answer for PyMQ may lie there at most: its caller takes it at once, unless it is gone. */
const ANSWER_LIFE = 5_000;
/** The least of them, for a bus that closes. */
const UNREAD = 250;

/** Opens the sending half. */
export async function openSender(settings: Settings, context: SenderContext): Promise<Sender> {
  const dead = (bus: string) => void context.ask("sweep", bus).catch(() => {}); // whoever meets it next removes it
  return new IpcSender(await Namespace.open(settings, context.namespace, dead), settings, context);
}

class IpcSender implements Sender, Waker {
  readonly waker: Waker = this;
  readonly replies: ReplyQueues;
  #namespace: Namespace;
  #outbox: Outbox;
  #itemSender: ItemSender;
  #leases: Leases;
  /** What was found out in this turn. */
  #routes = new Map<string, Route>();
  /** The bus of our receiver, as it was when it was woken last. */
  #bus = "";
  #eventfd: number | undefined;
  #closed = false;
  /** Answers that PyMQ is to take. */
  #answers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(namespace: Namespace, settings: Settings, context: SenderContext) {
    this.#namespace = namespace;
    const room = (descriptor: number, ms: number) => context.ask("room", [descriptor, ms]);
    this.#outbox = new Outbox({
      posix: namespace.posix,
      queues: namespace.queues,
      bodyFiles: namespace.bodyFiles,
      sendTimeout: context.sendTimeout,
      directory: (bus) => namespace.busDirectory(bus),
      gone: (bus, stuck) => {
        // PyMQ's names do not tell its pid namespace: only a queue that nobody reads is a dead one's
        if (!namespace.gone(bus, stuck < DEAF ? "dead" : "missing")) return false;
        void context.ask("sweep", bus).catch(() => {});
        return true;
      },
      closed: (bus) =>
        namespace.gone(bus, "dead") ||
        typeof namespace.posix.stat(namespace.directories.path(namespace.busDirectory(bus))) === "number",
      room,
    });
    this.#itemSender = new ItemSender(namespace, settings.messageSize, room);
    this.#leases = new Leases(namespace, "");
    this.replies = {
      lingers: false,
      open: (queue) => this.#openReplies(queue),
      // deno-lint-ignore require-await
      candidates: async (topic) => this.#route(topic).exact,
      put: (queue, body) => this.#answer(namespace.names.queue(queue), body),
      // deno-lint-ignore require-await
      register: async (topic, inbox) => namespace.subscriptions.register(topic, inbox),
    };
  }

  publish(topic: string, body: string): Promise<number> {
    let route: Route;
    try {
      route = this.#route(topic);
    } catch (error) {
      return Promise.reject(error);
    }
    const { destinations } = route;
    if (destinations.length === 0) return Promise.resolve(0);
    return new Promise((resolve, reject) => {
      let left = destinations.length;
      let reached = 0;
      for (const { count } of destinations) reached += count;
      let systemError: unknown;
      const done = () => {
        if (--left > 0) return;
        if (systemError === undefined) resolve(reached);
        else reject(systemError);
      };
      const outgoing: Outgoing = {
        topic,
        body,
        sent: done,
        failed: (queue, error) => {
          if (error === GONE) reached -= destinations.find((each) => each.queue === queue)?.count ?? 0;
          else systemError = error;
          done();
        },
      };
      for (const destination of destinations) this.#outbox.send(destination, outgoing);
    });
  }

  post(inbox: string, body: string): Promise<boolean> {
    const { names, processes } = this.#namespace;
    const bus = names.parseBus(inbox);
    if (!bus?.ours || processes.dead(bus)) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      this.#outbox.send({ bus: inbox, queue: inboxOf(inbox), pymq: false }, {
        topic: "",
        body,
        sent: () => resolve(true),
        failed: (_, error) => error === GONE ? resolve(false) : reject(error),
      });
    });
  }

  // deno-lint-ignore require-await
  async servers(topic: string): Promise<RegisteredServer[]> {
    return this.#namespace.subscriptions.servers(topic).map((inbox) => ({ inbox }));
  }

  send(queue: string, body: string, options: SendOptions): Promise<void> {
    return this.#itemSender.put(queue, this.#namespace.names.queue(queue), body, options);
  }

  // deno-lint-ignore require-await
  async size(queue: string): Promise<number> {
    const { names, posix, queues } = this.#namespace;
    const name = names.queue(queue);
    const open = queues.use(name);
    const current = open ? posix.attributes(open.descriptor)?.current ?? 0 : 0;
    return current + this.#leases.due(name);
  }

  // deno-lint-ignore require-await
  async drop(queue: string): Promise<void> {
    const { names, directories, posix, queues } = this.#namespace;
    const name = names.queue(queue);
    // moved away first: who makes the queue again puts its files into a directory of its own
    const aside = `queues/~${crypto.randomUUID()}`;
    const moved = posix.rename(directories.path(queueDirectory(name)), directories.path(aside));
    const unlinked = posix.unlinkQueue(name);
    if (unlinked === -Errno.EACCES) posix.rename(directories.path(aside), directories.path(queueDirectory(name))); // it is another user's of our group
    check(unlinked, `Cannot remove the queue ${name}`, Errno.ENOENT);
    if (moved === 0) directories.remove(aside);
    directories.prune("queues");
    this.#leases.forget(name);
    queues.removed(name);
    this.#itemSender.removed(name);
  }

  wake(inbox: string): void {
    const { names, posix } = this.#namespace;
    if (inbox !== this.#bus) {
      // the worker was replaced: what the dead one has left looks alive, because this process is
      if (this.#bus !== "") this.#removeOld(this.#bus);
      this.#closeBell();
      this.#bus = inbox;
      this.#eventfd = names.parseBus(inbox)?.eventfd;
    }
    if (this.#eventfd !== undefined) posix.writeEventfd(this.#eventfd);
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const [queue, timer] of this.#answers) this.#lapse(queue, timer);
    const closed = new ClosedError();
    this.#outbox.close(closed);
    this.#itemSender.close(closed);
    // a receiver that was ended by force has left all that it had, which looks alive as long as this process is
    const bus = this.#bus;
    if (bus !== "" && this.#namespace.queues.use(eventsOf(bus))) this.#removeOld(bus);
    this.#closeBell();
    this.#namespace.queues.close();
    return Promise.resolve();
  }

  async #answer(queue: string, body: string): Promise<void> {
    await this.#itemSender.answer(queue, body, ANSWER_WAIT);
    if (this.#closed) return;
    clearTimeout(this.#answers.get(queue));
    const timer = setTimeout(() => this.#lapse(queue, timer), ANSWER_LIFE);
    this.#answers.set(queue, timer);
  }

  /** Removes the queue of an answer that was not taken: its caller would have done so. */
  #lapse(queue: string, timer: ReturnType<typeof setTimeout>): void {
    clearTimeout(timer);
    this.#answers.delete(queue);
    const { posix, queues } = this.#namespace;
    if (queues.readers(queue, UNREAD) === "none") posix.unlinkQueue(queue);
  }

  #closeBell(): void {
    if (this.#eventfd !== undefined) this.#namespace.posix.close(this.#eventfd);
    this.#eventfd = undefined;
  }

  #removeOld(bus: string): void {
    const { posix, queues } = this.#namespace;
    for (const queue of [eventsOf(bus), inboxOf(bus)]) queues.removed(queue);
    removeBus(this.#namespace, bus);
    // the dead worker's descriptors: its queues count towards the limits as long as they are open
    const descriptors = posix.list("/proc/self/fd");
    for (const descriptor of typeof descriptors === "number" ? [] : descriptors) {
      if (posix.holds(Number(descriptor))) continue; // another bus of this thread has it; closed, its number would be another's
      if (String(posix.readLink(`/proc/self/fd/${descriptor}`)).startsWith(`/${bus}`)) posix.close(Number(descriptor));
    }
  }

  #route(topic: string): Route {
    let route = this.#routes.get(topic);
    if (route) return route;
    // looked at once a turn: whoever publishes many in one turn does not look for each
    if (this.#routes.size === 0) queueMicrotask(() => this.#routes.clear());
    this.#routes.set(topic, route = this.#namespace.subscriptions.route(topic));
    return route;
  }

  // deno-lint-ignore require-await
  async #openReplies(queue: string): Promise<void> {
    const { names, queues } = this.#namespace;
    queues.done(queues.use(names.queue(queue), REPLIES)!);
  }
}
