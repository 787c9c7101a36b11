/**
 * Checks of the handler and the options of a subscription.
 *
 * @module
 */
import { ValidationError } from "../errors.ts";
import { checkSchema } from "../codec/schema.ts";
import { checkFunction, type OptionChecks, refuseUnknown } from "../internal/arguments.ts";
import { DEAD } from "../provider/queue_names.ts";
import { type resolveTarget, SUBSCRIBE, type SubscribeOptions } from "./topic.ts";

/** The options that only a member of a group has. */
const GROUP_OPTIONS = ["lease", "maxAttempts", "backoff", "deadLetter", "handlerTimeout"] as const;
/**
 * The suffixes that the name of a group cannot have: that of dead-letter queues, because the group would store events among the dead letters
 * of another one, and that of FIFO queues of SQS, which cannot store events.
 */
const SUFFIXES = [DEAD, ".fifo"];

/** The checked options of a subscription. */
interface Checked {
  readonly pattern: boolean;
  readonly schema: SubscribeOptions["schema"];
  readonly concurrency: number;
  readonly group: string | undefined;
}

/**
 * Checks the handler and the options of a subscription, and returns the options with their defaults.
 *
 * @throws {ValidationError} when the handler or an option is wrong, or an option that only groups have is used without a group
 */
export function checkSubscription(
  target: ReturnType<typeof resolveTarget>,
  handler: unknown,
  options: SubscribeOptions,
): Checked {
  const check = refuseUnknown(options, SUBSCRIBE, "subscribe", " to", target.topic);
  checkFunction("a handler", handler);
  const schema = options.schema ?? target.schema;
  const concurrency = check.count("concurrency", options.concurrency ?? 1);
  checkSchema(check, schema);
  check.signal(options.signal)?.throwIfAborted();
  return {
    pattern: target.pattern ?? options.pattern ?? false,
    schema,
    concurrency,
    group: checkGroup(check, options),
  };
}

function checkGroup(check: OptionChecks, options: SubscribeOptions): string | undefined {
  if (options.group !== undefined) {
    const group = check.name("group", options.group);
    const end = SUFFIXES.find((end) => group.endsWith(end));
    if (end === undefined && !group.includes("@")) return group;
    const fault = end === undefined ? 'contains "@"' : `ends with "${end}"`;
    throw check.fault("group", `${fault}, which has a special meaning in queue names`);
  }
  const wrong = GROUP_OPTIONS.find((name) => options[name] !== undefined);
  if (wrong !== undefined) throw check.fault(wrong, "needs a group");
  return undefined;
}

/** Returns the error of `free` of a subscription without a group. */
export function notDurable(topic: string): ValidationError {
  return new ValidationError(
    `Cannot free the subscription to "${topic}": it has no group; use unsubscribe()`,
  );
}
