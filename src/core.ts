/**
 * The interface `Core`, which a bus gives to each of its parts.
 *
 * @module
 */
import type { Codec } from "./codec/codec.ts";
import type { Envelopes } from "./codec/envelope.ts";
import type { BusError } from "./errors.ts";
import type { ErrorContext, Gap } from "./events.ts";
import type { Authorize, ExposeErrors } from "./hooks.ts";
import type { PendingWork } from "./internal/pending_work.ts";
import type { Link } from "./port/link.ts";
import type { Features, Sender } from "./provider/provider.ts";
import type { Activity } from "./telemetry/activity.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";

/** The members of a bus that its parts use. Its functions are properties, so that a part can keep them without the object. */
export interface Core {
  readonly namespace: string;
  readonly link: Link;
  readonly sender: Sender;
  readonly features: Features;
  /** Milliseconds that a send may take before it rejects "unavailable". */
  readonly sendTimeout: number;
  readonly codec: Codec;
  readonly envelopes: Envelopes;
  readonly telemetry: Telemetry;
  /** Counts the items that are put and removed, while `tsmq top` or the dashboard asks. */
  readonly activity: Activity;
  /** The part of a served function's error that callers receive. */
  readonly exposeErrors: ExposeErrors;
  /** Decides whether a call runs, if the user gave such a function. */
  readonly authorize?: Authorize;
  /** The running handlers of events, items and calls. `close` waits for them. */
  readonly handlers: PendingWork;
  /** Requests for items. `close` waits for them, so that an item that arrives too late goes back to its queue. */
  readonly receives: PendingWork;
  /** Messages whose schema is asynchronous. `close` waits for them, because they may start handlers. */
  readonly decodings: PendingWork;
  /** Aborts with a `ClosedError` when the bus begins to close. */
  readonly closing: AbortSignal;
  /** Throws a `ClosedError` of a verb once the bus is closed. Handlers may still send while it closes. */
  readonly checkOpen: (verb: string, preposition: string, target?: unknown) => void;
  /** Throws a `ClosedError` of a verb once the bus begins to close. */
  readonly checkNotClosing: (verb: string, preposition: string, target?: unknown) => void;
  /** Whether a connection is down, or was restored less than `ms` milliseconds ago. */
  readonly recovering: (ms: number) => boolean;
  /** Returns the last error of the connection while it is down, otherwise `undefined`. */
  readonly outage: () => unknown;
  /** Handles a message of the inbox for answers, where nothing else is accepted. */
  readonly receiveAnswer: (inbox: string, body: string) => void;
  /** Posts a message to the inbox of a bus, in an envelope for that inbox. Resolves as `Sender.post` does. */
  readonly post: (inbox: string, message: string) => Promise<boolean | undefined>;
  /** Notes that the bus with this inbox reads several messages in one: see `posts.ts`. */
  readonly joins: (inbox: string) => void;
  /** Counts an event that was dropped because the same event had arrived before. */
  readonly repeated: () => void;
  /**
   * Emits an `"error"` event for the topic, queue or function of this name; `""` for none. `rejected`: the error belongs to a message
   * that the bus rejects. The number of such reports is limited; further ones are only counted.
   */
  readonly report: (error: unknown, name: string, rejected?: boolean, context?: ErrorContext) => void;
  /**
   * Reports that the bus rejects a message, as `report` does. The error is created only if it is reported, because one with its stack takes
   * about 9 µs on Deno. `untrusted`: the keys of the bus do not accept the message.
   */
  readonly reject: (error: () => BusError, name: string, untrusted?: boolean) => void;
  /** Emits a `"gap"` event. */
  readonly gap: (detail: Gap) => void;
}
