/**
 * Publishes events: finds the topic, validates the event, and keeps the order.
 *
 * @module
 */
import { Codec, type EventClass } from "../codec/codec.ts";
import { native } from "../codec/classes.ts";
import { withTrace } from "../codec/envelope.ts";
import { checkHeaders, type MessageHeaders } from "../codec/headers.ts";
import type { Core } from "../core.ts";
import { ValidationError } from "../errors.ts";
import { checkName, kindOf, refuseUnknown } from "../internal/arguments.ts";
import { warnOnce } from "../internal/complain.ts";
import { PendingWork } from "../internal/pending_work.ts";
import { type StandardSchemaV1, validate } from "../codec/schema.ts";
import type { Dispatch } from "./dispatch.ts";
import { checkCopy, PUBLISH, type PublishOptions, Topic } from "./topic.ts";

/** Publishes events in order: an event that has to wait delays all later events of its topic. */
export class Publisher {
  #core: Core;
  #dispatch: Dispatch;
  #tails = new Map<string, Promise<unknown>>();
  #publishes = new PendingWork();

  /** Creates the publisher of a bus. */
  constructor(core: Core, dispatch: Dispatch) {
    this.#core = core;
    this.#dispatch = dispatch;
  }

  /** Publishes an event. Resolves with the number of transport subscriptions it reached, if known. */
  publish(event: unknown, target: unknown, options: unknown): Promise<number | undefined> {
    const only = isOptions(target); // publish(event, options)
    const { topic, schema } = destination(event, only ? undefined : target);
    this.#core.checkOpen("publish", " to", topic);
    if (only && options !== undefined) {
      throw new ValidationError("Cannot publish an event: the options were passed twice");
    }
    const headers = headersIn(only ? target : options, topic);
    const operation = this.#core.telemetry.begin("publish", topic);
    if (!operation) return this.#send(event, topic, schema, headers);
    return operation.follow(() => this.#send(event, topic, schema, withTrace(headers, operation.traceparent)));
  }

  /** Resolves when no event is being published. */
  idle(): Promise<void> {
    return this.#publishes.idle();
  }

  #send(
    event: unknown,
    topic: string,
    schema?: StandardSchemaV1,
    headers?: MessageHeaders,
  ): Promise<number | undefined> {
    const { sender, codec, envelopes } = this.#core;
    const valid = schema && validate(schema, event, `an event on "${topic}"`, "event");
    const body = envelopes.seal("event", topic, codec.encode(event, `publish to "${topic}"`), headers);
    const tail = this.#tails.get(topic);
    const subscribed = this.#dispatch.unready;
    if (!subscribed && !tail && !(valid instanceof Promise)) return this.#publishes.track(sender.publish(topic, body));
    // later events wait until this one is sent, not until it is accepted
    const left = (async () => {
      await valid;
      await tail?.catch(() => {}); // its own publish rejects
      await subscribed;
      return { arrived: sender.publish(topic, body) };
    })();
    this.#tails.set(topic, left);
    return this.#publishes.track(
      left.then(({ arrived }) => arrived).finally(() => {
        if (this.#tails.get(topic) === left) this.#tails.delete(topic);
      }),
    );
  }
}

/** Returns whether an argument is options: a plain object, or one with no other key than `headers`. */
function isOptions(value: unknown): value is PublishOptions {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value); // a promise of a topic, a Date or a Map is not plain
  return prototype === null || Object.getPrototypeOf(prototype) === null || Object.keys(value).join() === "headers";
}

/** Returns the headers of options, which are the last argument of `publish`. */
function headersIn(options: unknown, topic: string): MessageHeaders | undefined {
  if (options === undefined) return undefined;
  const check = refuseUnknown(options, PUBLISH, "publish", " to", topic);
  if (isOptions(options)) return checkHeaders(options.headers, "event");
  throw check.invalid("options must be a plain object");
}

function destination(event: unknown, target: unknown): { topic: string; schema?: StandardSchemaV1 } {
  if (typeof target === "string") {
    if (typeof event === "string" && /\s/.test(target)) warnOfOrder(event);
  } else if (target instanceof Topic) {
    if (target.pattern) throw new ValidationError(`Cannot publish to "${target.name}": it is a pattern`);
    return { topic: target.name, schema: target.schema };
  } else checkCopy(target);
  const type = classOf(event);
  const schema = type && Codec.schemaOf(type);
  if (target !== undefined) return { topic: checkName("a topic", target), schema };
  if (!type) {
    throw new ValidationError(
      `Cannot publish ${kindOf(event)} without a topic: pass one, as in publish(event, "orders")`,
    );
  }
  return { topic: checkName("a topic", Codec.nameOf(type)), schema };
}

/** Warns if the arguments of `publish` seem to be swapped: the topic has white space, and the event, a string, has none. */
function warnOfOrder(event: string): void {
  if (/\s/.test(event)) return;
  warnOnce(
    "publish",
    "publish(event, topic) received a topic that contains white space, and an event that does not: the event is the first argument",
  );
}

/** Returns the class of an event, if the event is an instance of a class that names a topic. */
function classOf(event: unknown): EventClass | undefined {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return undefined;
  const prototype = Object.getPrototypeOf(event);
  if (prototype === null || prototype === Object.prototype) return undefined;
  const type = prototype.constructor;
  return typeof type !== "function" || native(type) ? undefined : type as EventClass;
}
