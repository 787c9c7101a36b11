/**
 * The answers of a bus to questions about the activity of its queues. Unlike the answers to calls, they are not remembered: a question
 * changes nothing, so it may be answered twice.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { userHeaders } from "../codec/headers.ts";
import { allowed, deniedAnswer } from "./authorization.ts";
import { type Request, writeAnswer } from "./wire.ts";

/** The name of the function that every bus serves to its inbox, without a registration. Its argument is that of `Activity.read`. */
export const ACTIVITY = "tsmq:activity";

/** The largest number of answers that are sent at the same time. Further questions are ignored. */
const PARALLEL = 16;

/** Answers a question, if the hook `authorize` of the bus allows it. Resolves when the answer was sent, or could not be sent. */
export async function answerActivity({ fn, args: [keep], call, key }: Request, core: Core): Promise<void> {
  const { authorize, activity, closing, link, post } = core;
  if (!call || activity.answering >= PARALLEL) return;
  activity.answering++;
  try {
    const asked = { fn, headers: userHeaders(call.headers), ...key !== undefined && { key } };
    const allow = await allowed([authorize], asked, () => {}); // a hook need not know this function, so its error is not reported
    if (closing.aborted) return;
    const answer = allow ? { fn, result: activity.read(keep), resultType: "dict", isError: false } : deniedAnswer(fn);
    await post(call.inbox, writeAnswer({ ...answer, call: { ...answer.call, id: call.id, server: link.inbox } }));
  } catch {
    // the tool asks again
  } finally {
    activity.answering--;
  }
}
