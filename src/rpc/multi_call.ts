/**
 * Calls of every server of a function: one request for all, and when enough have answered.
 *
 * @module
 */
import { after } from "../internal/time.ts";
import { type BusError, ProviderError, RpcError, TimeoutError } from "../errors.ts";
import type { Call } from "./call.ts";
import type { CallerHome } from "./caller.ts";
import { type Directory, MOST } from "./directory.ts";
import type { Pymq } from "./pymq.ts";
import { pause, RECOVERY, RETRY, type Waits } from "./pending_calls.ts";
import { type Answer, denial } from "./wire.ts";

/** Milliseconds that a multi-call waits for answers of servers that are in no registry, after the last answer it got. */
const GRACE = 500;

/** What is needed of the caller. */
export interface MultiCallHome extends CallerHome {
  readonly directory: Directory;
  readonly waits: Waits;
  readonly pymq: Pymq;
}

/**
 * Calls every server; an error in place of an answer says that one did not give it. All that are registered are awaited. Of the
 * other subscribers, those that say nothing for `GRACE` are strangers, unless one of them has answered, as PyMQ's servers do: then
 * the rest may be servers too, and is awaited. What is missing in the end is taken for strangers in the next calls.
 */
export async function multiCall(call: Call, home: MultiCallHome): Promise<(Answer | BusError)[]> {
  const { link, sender, directory, waits, pymq } = home;
  const { replies } = sender;
  const { fn } = call;
  let { registered, present: servers } = await directory.ask(fn);
  const awaited = () => home.recovering(RECOVERY) || (registered.length > 0 && call.age < RECOVERY);
  while (servers.length === 0 && !call.over && awaited()) {
    await pause(RETRY);
    ({ registered, present: servers } = await directory.ask(fn));
  }
  if (registered.length > MOST) {
    throw new RpcError("too_large", `Cannot call "${fn}" on all its servers: more than ${MOST} are registered`);
  }
  const subscribers = replies ? await replies.candidates(fn) : servers.length;
  if (servers.length === 0 && subscribers === 0) return [];
  let others = (subscribers ?? Infinity) - servers.length;
  const queue = replies && others > 0 ? await pymq.open(call) : undefined;

  const answers: (Answer | BusError)[] = [];
  const { promise: done, resolve: finish } = Promise.withResolvers<void>();
  const missing = new Map(servers.map((server) => [server, 0]));
  const answered = new Set<string>();
  const strangers = pymq.strangers.get(fn) ?? 0;
  /** Answers of servers that were not registered. */
  let unregistered = 0;
  const silent = () => Math.max(0, others - unregistered);
  /** How many are awaited to the deadline, because they may be servers too. */
  const due = () => unregistered > 0 && others < Infinity ? Math.max(0, silent() - strangers) : 0;
  let grace: ReturnType<typeof setTimeout> | undefined;
  const judge = () => {
    clearTimeout(grace);
    if (missing.size > 0 || due() > 0) return;
    if (silent() === 0) return finish();
    if (answers.length > 0) grace = setTimeout(finish, GRACE);
  };
  waits.add({
    call,
    channel: queue?.channel ?? "",
    servers: missing,
    answer: (answer, server) => {
      if (answered.has(server)) return; // it was asked twice
      answered.add(server);
      if (!missing.delete(server)) unregistered++; // one that registered in the meantime
      const refused = answer.call?.refused;
      const one = refused ? denial(fn, refused) : answer;
      if (one) answers.push(one);
      judge();
    },
    lost: (server) => {
      missing.delete(server);
      const text = `Cannot call "${fn}": a server is gone; whether it served the call is unknown`;
      answers.push(new ProviderError("unavailable", text));
      judge();
    },
  });
  // the deadline ends what is missing, not the answers that are there
  const stop = after(Math.max(0, call.left - 5), () => {
    for (let i = missing.size + due(); i > 0; i--) {
      answers.push(new TimeoutError(`Cannot call "${fn}": a server did not answer in time`));
    }
    finish();
  });
  call.cleanups.push(stop, () => clearTimeout(grace));
  const address = await call.address(link);
  const reached = await sender.publish(fn, call.request(address, queue?.channel ?? ""));
  if (reached !== undefined) others = Math.min(others, reached - servers.length);
  if (reached === 0 && servers.length === 0) return [];
  queue?.expect(others);
  queue?.fetch((answer) => {
    unregistered++;
    if (answer) answers.push(answer);
    judge();
  }).catch(() => {}); // ended by the call's own end, or the transport's: the deadline judges
  judge();
  await done;
  if (unregistered > 0 && (silent() < strangers || due() > 0)) pymq.strangers.set(fn, silent());
  return answers;
}
