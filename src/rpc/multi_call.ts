/**
 * Calls of all servers of a function: one request, and one result for each server.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { after, backoff, pause, RETRY } from "../internal/time.ts";
import { type BusError, ProviderError, RpcError, TimeoutError } from "../errors.ts";
import type { Call } from "./call.ts";
import { type Directory, MAX_SERVERS } from "./directory.ts";
import { type PendingCalls, RECOVERY } from "./pending_calls.ts";
import type { PymqCaller } from "./pymq.ts";
import { type Answer, denial } from "./wire.ts";

/** Milliseconds that a multi-call waits after each answer for servers that are in no registry. */
const GRACE = 500;

/** What multi-calls share with the other calls of a bus. */
export interface MultiCallParts {
  readonly core: Core;
  readonly directory: Directory;
  readonly pending: PendingCalls;
  readonly pymq: PymqCaller;
}

/**
 * Calls all servers of a function; an error in place of an answer says that one server did not answer. All registered servers are
 * awaited. Other subscribers of the topic are awaited for `GRACE` only, until one of them answers, as PyMQ's servers do: then the
 * others may be servers too, and are awaited to the deadline. Those that are silent until then do not count as servers for a while.
 */
export async function multiCall(call: Call, parts: MultiCallParts): Promise<(Answer | BusError)[]> {
  const { core, directory, pending, pymq } = parts;
  const { link, sender } = core;
  const { replies } = sender;
  const { fn } = call;
  let { registered, present: servers } = await directory.all(fn);
  const awaited = () => core.recovering(RECOVERY) || (registered.length > 0 && call.age < RECOVERY);
  for (let attempt = 1; servers.length === 0 && !call.over && awaited(); attempt++) {
    await pause(backoff(RETRY.prompt, attempt));
    ({ registered, present: servers } = await directory.all(fn));
  }
  if (registered.length > MAX_SERVERS) {
    throw new RpcError("too_large", `Cannot call "${fn}" on all its servers: more than ${MAX_SERVERS} are registered`);
  }
  const subscribers = replies ? await replies.candidates(fn) : servers.length;
  if (servers.length === 0 && subscribers === 0) return [];
  let others = (subscribers ?? Infinity) - servers.length;
  const queue = replies && others > 0 ? await pymq.open(call) : undefined;

  const answers: (Answer | BusError)[] = [];
  const { promise: done, resolve: finish } = Promise.withResolvers<void>();
  const missing = new Map(servers.map((server) => [server, 0]));
  const answered = new Set<string>();
  const silentBefore = pymq.silent.get(fn) ?? 0;
  /** Answers of servers that were not registered. */
  let unregistered = 0;
  const silent = () => Math.max(0, others - unregistered);
  /** How many other subscribers are awaited to the deadline, because they may be servers too. */
  const due = () => unregistered > 0 && others < Infinity ? Math.max(0, silent() - silentBefore) : 0;
  let grace: ReturnType<typeof setTimeout> | undefined;
  const judge = () => {
    clearTimeout(grace);
    if (missing.size > 0 || due() > 0) return;
    if (silent() === 0) return finish();
    if (answers.length > 0) grace = setTimeout(finish, GRACE);
  };
  pending.add({
    call,
    channel: queue?.name ?? "",
    servers: missing,
    answer: (answer, server) => {
      if (answered.has(server)) return; // the request was sent again
      answered.add(server);
      if (!missing.delete(server)) unregistered++; // a server that registered meanwhile
      const refused = answer.call?.refused;
      const result = refused ? denial(fn, refused) : answer;
      if (result) answers.push(result);
      judge();
    },
    lost: (server) => {
      missing.delete(server);
      const text = `Cannot call "${fn}": a server is gone; whether it served the call is unknown`;
      answers.push(new ProviderError("unavailable", text));
      judge();
    },
  });
  // just before the call's own deadline, which would reject the answers that are there
  const stop = after(Math.max(0, call.left - 5), () => {
    for (let i = missing.size + due(); i > 0; i--) {
      answers.push(new TimeoutError(`Cannot call "${fn}": a server did not answer in time`));
    }
    finish();
  });
  call.cleanups.push(stop, () => clearTimeout(grace));
  const inbox = await call.inbox(link);
  const reached = await sender.publish(fn, call.request(inbox, queue?.name ?? ""));
  if (reached !== undefined) others = Math.min(others, reached - servers.length);
  if (reached === 0 && servers.length === 0) return [];
  queue?.expect(others);
  queue?.read((answer) => {
    unregistered++;
    if (answer) answers.push(answer);
    judge();
  }).catch(() => {}); // the call's end or the transport's failure ends the reading; the deadline ends the call
  judge();
  await done;
  if (unregistered > 0 && (silent() < silentBefore || due() > 0)) pymq.silent.set(fn, silent());
  return answers;
}
