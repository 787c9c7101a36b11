/**
 * The flow from the transport to main: events within the credit of their subscription, and inbox messages while main keeps up.
 *
 * @module
 */
import { Fifo } from "../internal/fifo.ts";
import { pack } from "./batch.ts";
import { cost, INBOX } from "./credit.ts";
import { BusError, toPlain } from "../errors.ts";
import type { Emit } from "../provider/provider.ts";
import type { ToMain } from "./protocol.ts";

/** The number of characters of events that the worker holds, for all subscriptions of a bus. Further events are dropped, and a gap is reported. */
export const HELD_LIMIT = 64 * 1024 * 1024;

/**
 * The number of characters of events that all buses of a worker may hold, because on Deno a worker without memory ends the whole program.
 */
export const WORKER_LIMIT: number = 4 * HELD_LIMIT;

/** The number of characters of inbox messages that main has not handled. Further messages are dropped, and an error is reported. */
export const AHEAD_LIMIT = 64 * 1024 * 1024;

/** A held event, or a gap between held events. */
type Held = [topic: string, body: string] | Gap;

interface Gap {
  readonly reason: string;
  lost: number;
}

interface Flow {
  readonly id: number;
  readonly pattern: boolean;
  credit: number;
  held: Fifo<Held>;
  /** The last held entry, if it is a gap. */
  gap: Gap | undefined;
}

/** The number of characters of events that all buses of this worker hold. */
let heldByAll = 0;

/** Batches events and inbox messages into frames, and holds the events that main has given no credit for. */
export class Inflow {
  /** Called when `congested` ends: the held events of this bus have shrunk to a quarter of the limit. */
  onDrain?: () => void;
  /** True while a transport that keeps unread events should not be read, because many events are held. */
  congested = false;
  #flows = new Map<number, Flow>();
  /** The frame to which further events of this turn are added. */
  #events: (ToMain & { kind: "events" }) | undefined;
  #last: Flow | undefined;
  #inbox: (ToMain & { kind: "inbox" }) | undefined;
  #requests: (ToMain & { kind: "requests" }) | undefined;
  #held = 0;
  #ahead = 0;
  #full = false;
  #post: (frame: ToMain) => void;

  /** Creates an inflow without events. `post` appends a frame to the batch that is posted at the end of the turn. */
  constructor(post: (frame: ToMain) => void) {
    this.#post = post;
  }

  /** Opens the flow of a subscription. Returns the function with which the receiver emits its events. */
  open(id: number, pattern: boolean, credit: number): Emit {
    const flow: Flow = { id, pattern, credit, held: new Fifo(), gap: undefined };
    this.#flows.set(id, flow);
    return (topic, body) => {
      const sent = pattern ? topic : ""; // main knows the topic of any other subscription
      if (flow.credit > 0 && flow.held.length === 0) this.#send(flow, sent, body);
      else this.#hold(flow, sent, body);
    };
  }

  /** Adds a gap to a flow, after the events that were emitted and before later ones. */
  gap(id: number, reason: string): void {
    const flow = this.#flows.get(id);
    if (!flow) return;
    if (flow.held.length > 0) this.#lose(flow, reason, 0);
    else this.#postGap(flow, reason, 0);
  }

  /** Closes a flow. Drops the events that it holds, and later ones. */
  close(id: number): void {
    const flow = this.#flows.get(id);
    if (!flow) return;
    this.#flows.delete(id);
    flow.credit = 0;
    for (const held of flow.held.drain()) if (Array.isArray(held)) this.#count(-cost(held[1], held[0]));
    this.#relax();
  }

  /** Closes all flows, and drops later inbox messages. */
  end(): void {
    for (const id of this.#flows.keys()) this.close(id);
    this.#full = true;
  }

  /** Gives a flow credit for events of this cost, which main has handled. */
  credit(id: number, count: number): void {
    if (id === INBOX) {
      this.#ahead -= count;
      this.#full &&= this.#ahead > AHEAD_LIMIT / 2;
      return;
    }
    const flow = this.#flows.get(id);
    if (!flow) return;
    flow.credit += count;
    while (flow.credit > 0) {
      const held = flow.held.shift();
      if (!held) break;
      if (Array.isArray(held)) {
        this.#count(-cost(held[1], held[0]));
        this.#send(flow, held[0], held[1]);
      } else {
        if (flow.gap === held) flow.gap = undefined;
        this.#postGap(flow, held.reason, held.lost);
      }
    }
    this.#relax();
  }

  /** Passes an inbox message to main. It is never held. If main is too far behind, the message is dropped, and its sender sends it again. */
  inbox(body: string): void {
    if (!this.#admit(body)) return;
    if (this.#inbox) return void (this.#inbox.bodies as string[]).push(body);
    this.#inbox = { kind: "inbox", bodies: [body] };
    this.#post(this.#inbox);
  }

  /**
   * Passes a request that arrived on the topic of a served function to main, like an inbox message. It belongs to no flow, so the server
   * can refuse requests that arrive after its subscription has ended.
   */
  request(topic: string, body: string): void {
    if (!this.#admit(body)) return;
    if (!this.#requests) this.#post(this.#requests = { kind: "requests", topics: [], bodies: [] });
    this.#requests.topics.push(topic);
    this.#requests.bodies.push(body);
  }

  /** Ends the frames of the batch that is being posted. Later events start new frames. */
  sent(): void {
    if (this.#inbox) this.#inbox.bodies = pack(this.#inbox.bodies as string[]);
    this.#inbox = this.#requests = undefined;
    this.#seal();
  }

  /** Returns whether main can accept one more message that needs no credit. */
  #admit(body: string): boolean {
    if (this.#full) return false;
    // a message larger than the limit passes when main has handled those before it
    if (this.#ahead <= AHEAD_LIMIT) {
      this.#ahead += cost(body);
      return true;
    }
    this.#full = true;
    const text =
      "Cannot pass on calls and answers: the main thread is far behind, and they are dropped until it has caught up";
    this.#post({ kind: "fault", error: toPlain(new BusError("busy", text)) });
    return false;
  }

  #send(flow: Flow, topic: string, body: string): void {
    flow.credit -= cost(body, topic);
    let frame = this.#events;
    if (!frame) this.#post(frame = this.#events = { kind: "events", runs: [], bodies: [] });
    const { runs } = frame;
    const bodies = frame.bodies as string[];
    if (this.#last === flow) runs[runs.length - 1]!++;
    else runs.push(flow.id, 1);
    this.#last = flow;
    if (flow.pattern) frame.topics ??= bodies.map(() => "");
    frame.topics?.push(topic);
    bodies.push(body);
  }

  #seal(): void {
    const frame = this.#events;
    if (!frame) return;
    frame.bodies = pack(frame.bodies as string[]);
    this.#events = this.#last = undefined;
  }

  #postGap(flow: Flow, reason: string, lost: number): void {
    this.#seal(); // events after the gap must not join a frame that leaves before it
    this.#post({ kind: "gap", reason, lost, subscription: flow.id });
  }

  #lose(flow: Flow, reason: string, lost: number): void {
    if (flow.gap?.reason !== reason) flow.held.push(flow.gap = { reason, lost: 0 });
    flow.gap.lost += lost;
  }

  #hold(flow: Flow, topic: string, body: string): void {
    if (this.#flows.get(flow.id) !== flow) return; // it has ended, and its events would never be released
    const room = Math.min(HELD_LIMIT - this.#held, WORKER_LIMIT - heldByAll);
    if (cost(body, topic) > room) return this.#lose(flow, "the handlers are behind", 1);
    flow.gap = undefined;
    flow.held.push([topic, body]);
    this.#count(cost(body, topic));
    if (this.#held > HELD_LIMIT / 2 || heldByAll > WORKER_LIMIT / 2) this.congested = true;
  }

  #count(change: number): void {
    this.#held += change;
    heldByAll += change;
  }

  #relax(): void {
    if (!this.congested || this.#held > HELD_LIMIT / 4) return;
    this.congested = false;
    this.onDrain?.();
  }
}
