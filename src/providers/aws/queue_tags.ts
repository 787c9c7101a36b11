/**
 * The tags of queues, of which the SDK reads only those of tsmq. A peer may give its queues other tags, and the SDK reads the answers of SQS
 * with `JSON.parse`: the engine keeps each new name in a table whose hash is public, so names that collide would stop the thread.
 *
 * @module
 */
import { membersOf, stringIn } from "../../internal/json.ts";
import { MAX_TIMER } from "../../internal/time.ts";
import { ORIGIN_TAG } from "./origin_tag.ts";

/** The tag of a bus's queue that holds the end of the bus's lease, in milliseconds since 1970. */
export const LEASE_TAG = "tsmq-lease";

const NAMES = [LEASE_TAG, ORIGIN_TAG];
const decoder = new TextDecoder();

/**
 * Returns the end of the lease in these tags, or 0 if there is none. An end that no bus sets counts as none: a peer may write any text, and a
 * bus with a lease until `Infinity` or the year 9999 would never count as dead.
 */
export function leaseIn({ [LEASE_TAG]: until = "" }: Readonly<Record<string, string>>): number {
  return /^\d{1,15}$/.test(until) && Number(until) <= Date.now() + MAX_TIMER ? Number(until) : 0;
}

/** An answer of SQS, with its body as the SDK's HTTP handler returns it. */
interface Answer {
  readonly statusCode: number;
  body: unknown;
}

/** Returns a middleware of the SDK that removes the tags of other programs from answers before the SDK parses them. `collect` reads a body. */
export function onlyOurTags(collect: (body: unknown) => Promise<Uint8Array>) {
  return <A, R extends { response: unknown }>(
    next: (args: A) => Promise<R>,
    { commandName }: { commandName?: string },
  ): (args: A) => Promise<R> => {
    if (commandName !== "ListQueueTagsCommand") return next;
    return async (args) => {
      const result = await next(args);
      const answer = result.response as Answer;
      if (answer.statusCode === 200) answer.body = ourTags(await collect(answer.body));
      return result;
    };
  };
}

/** Returns the same answer with the tags of tsmq only. */
function ourTags(answer: Uint8Array): Uint8Array {
  const members = membersOf(decoder.decode(answer), ["Tags"]);
  if (!members) throw new SyntaxError("the answer of SQS is not a JSON object");
  const values = membersOf(members[0] ?? "{}", NAMES) ?? [];
  const Tags = Object.fromEntries(NAMES.map((name, i) => [name, stringIn(values[i])]));
  return new TextEncoder().encode(JSON.stringify({ Tags }));
}
