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
import { check } from "./errors.ts";
import { Leases, sideOf } from "./leases.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { GONE, Outbox, type Parcel } from "./outbox.ts";
import { Errno } from "./posix.ts";
import { Puts } from "./item_sender.ts";
import { REPLIES } from "./mqueues.ts";
import { type Settings, Space } from "./namespace.ts";
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
  const dead = (loop: string) => void context.ask("sweep", loop).catch(() => {}); // whoever meets it next removes it
  return new IpcSender(await Space.open(settings, context.namespace, dead), settings, context);
}

class IpcSender implements Sender, Waker {
  readonly waker: Waker = this;
  readonly replies: ReplyQueues;
  #space: Space;
  #outbox: Outbox;
  #puts: Puts;
  #leases: Leases;
  /** What was found out in this turn. */
  #routes = new Map<string, Route>();
  /** The bus of our receiver, as it was when it was woken last. */
  #loop = "";
  #bell: number | undefined;
  #closed = false;
  /** Answers that PyMQ is to take. */
  #answers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(space: Space, settings: Settings, context: SenderContext) {
    this.#space = space;
    const room = (descriptor: number, ms: number) => context.ask("room", [descriptor, ms]);
    this.#outbox = new Outbox({
      posix: space.posix,
      queues: space.queues,
      bodies: space.bodies,
      sendTimeout: context.sendTimeout,
      directory: (loop) => space.loopDirectory(loop),
      gone: (loop, stuck) => {
        // PyMQ's names do not tell its pid namespace: only a queue that nobody reads is a dead one's
        if (!space.gone(loop, stuck < DEAF ? "dead" : "missing")) return false;
        void context.ask("sweep", loop).catch(() => {});
        return true;
      },
      closed: (loop) =>
        space.gone(loop, "dead") || typeof space.posix.stat(space.place.of(space.loopDirectory(loop))) === "number",
      room,
    });
    this.#puts = new Puts(space, settings.messageSize, room);
    this.#leases = new Leases(space, "");
    this.replies = {
      lingers: false,
      open: (queue) => this.#openReplies(queue),
      // deno-lint-ignore require-await
      candidates: async (topic) => this.#route(topic).exact,
      put: (queue, body) => this.#answer(space.names.queue(queue), body),
      // deno-lint-ignore require-await
      register: async (topic, inbox) => space.tree.register(topic, inbox),
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
      let failure: unknown;
      const done = () => {
        if (--left > 0) return;
        if (failure === undefined) resolve(reached);
        else reject(failure);
      };
      const parcel: Parcel = {
        topic,
        body,
        sent: done,
        failed: (queue, error) => {
          if (error === GONE) reached -= destinations.find((each) => each.queue === queue)?.count ?? 0;
          else failure = error;
          done();
        },
      };
      for (const destination of destinations) this.#outbox.send(destination, parcel);
    });
  }

  post(inbox: string, body: string): Promise<boolean> {
    const { names, processes } = this.#space;
    const loop = names.readLoop(inbox);
    if (!loop?.ours || processes.dead(loop)) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      this.#outbox.send({ loop: inbox, queue: inboxOf(inbox), pymq: false }, {
        topic: "",
        body,
        sent: () => resolve(true),
        failed: (_, error) => error === GONE ? resolve(false) : reject(error),
      });
    });
  }

  // deno-lint-ignore require-await
  async servers(topic: string): Promise<RegisteredServer[]> {
    return this.#space.tree.servers(topic).map((inbox) => ({ inbox }));
  }

  send(queue: string, body: string, options: SendOptions): Promise<void> {
    return this.#puts.put(queue, this.#space.names.queue(queue), body, options);
  }

  // deno-lint-ignore require-await
  async size(queue: string): Promise<number> {
    const { names, posix, queues } = this.#space;
    const name = names.queue(queue);
    const open = queues.use(name);
    const current = open ? posix.attributes(open.descriptor)?.current ?? 0 : 0;
    return current + this.#leases.due(name);
  }

  // deno-lint-ignore require-await
  async drop(queue: string): Promise<void> {
    const { names, place, posix, queues } = this.#space;
    const name = names.queue(queue);
    // moved away first: who makes the queue again puts its files into a directory of its own
    const aside = `queues/~${crypto.randomUUID()}`;
    const moved = posix.rename(place.of(sideOf(name)), place.of(aside));
    const unlinked = posix.unlinkQueue(name);
    if (unlinked === -Errno.EACCES) posix.rename(place.of(aside), place.of(sideOf(name))); // it is another user's of our group
    check(unlinked, `Cannot remove the queue ${name}`, Errno.ENOENT);
    if (moved === 0) place.remove(aside);
    place.prune("queues");
    this.#leases.forget(name);
    queues.removed(name);
    this.#puts.removed(name);
  }

  wake(inbox: string): void {
    const { names, posix } = this.#space;
    if (inbox !== this.#loop) {
      // the worker was replaced: what the dead one has left looks alive, because this process is
      if (this.#loop !== "") this.#removeOld(this.#loop);
      this.#closeBell();
      this.#loop = inbox;
      this.#bell = names.readLoop(inbox)?.bell;
    }
    if (this.#bell !== undefined) posix.ring(this.#bell);
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const [queue, timer] of this.#answers) this.#lapse(queue, timer);
    const closed = new ClosedError();
    this.#outbox.close(closed);
    this.#puts.close(closed);
    // a receiver that was ended by force has left all that it had, which looks alive as long as this process is
    const loop = this.#loop;
    if (loop !== "" && this.#space.queues.use(eventsOf(loop))) this.#removeOld(loop);
    this.#closeBell();
    this.#space.queues.close();
    return Promise.resolve();
  }

  async #answer(queue: string, body: string): Promise<void> {
    await this.#puts.answer(queue, body, ANSWER_WAIT);
    if (this.#closed) return;
    clearTimeout(this.#answers.get(queue));
    const timer = setTimeout(() => this.#lapse(queue, timer), ANSWER_LIFE);
    this.#answers.set(queue, timer);
  }

  /** Removes the queue of an answer that was not taken: its caller would have done so. */
  #lapse(queue: string, timer: ReturnType<typeof setTimeout>): void {
    clearTimeout(timer);
    this.#answers.delete(queue);
    const { posix, queues } = this.#space;
    if (queues.readers(queue, UNREAD) === "none") posix.unlinkQueue(queue);
  }

  #closeBell(): void {
    if (this.#bell !== undefined) this.#space.posix.close(this.#bell);
    this.#bell = undefined;
  }

  #removeOld(loop: string): void {
    const { posix, queues } = this.#space;
    for (const queue of [eventsOf(loop), inboxOf(loop)]) queues.removed(queue);
    this.#space.removeLoop(loop);
    // the dead worker's descriptors: its queues count towards the limits as long as they are open
    const descriptors = posix.list("/proc/self/fd");
    for (const descriptor of typeof descriptors === "number" ? [] : descriptors) {
      if (posix.holds(Number(descriptor))) continue; // another bus of this thread has it; closed, its number would be another's
      if (String(posix.readLink(`/proc/self/fd/${descriptor}`)).startsWith(`/${loop}`)) posix.close(Number(descriptor));
    }
  }

  #route(topic: string): Route {
    let route = this.#routes.get(topic);
    if (route) return route;
    // looked at once a turn: whoever publishes many in one turn does not look for each
    if (this.#routes.size === 0) queueMicrotask(() => this.#routes.clear());
    this.#routes.set(topic, route = this.#space.tree.route(topic));
    return route;
  }

  // deno-lint-ignore require-await
  async #openReplies(queue: string): Promise<void> {
    const { names, queues } = this.#space;
    queues.done(queues.use(names.queue(queue), REPLIES)!);
  }
}
