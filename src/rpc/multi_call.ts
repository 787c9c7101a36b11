/**
 * Multi-calls: one request to all servers of a function, and one result for each server.
 *
 * @module
 */
import { heldBytes, typeBytes } from "../codec/held_bytes.ts";
import type { Core } from "../core.ts";
import { inParallel } from "../internal/in_parallel.ts";
import { TextMap, textSet } from "../internal/text_map.ts";
import { after, backoff, pause, RETRY } from "../internal/time.ts";
import { type BusError, RpcError, TimeoutError } from "../errors.ts";
import type { Call } from "./call.ts";
import { type Directory, MAX_SERVERS } from "./directory.ts";
import { PARALLEL, type PendingCalls, RECOVERY } from "./pending_calls.ts";
import type { PymqCaller } from "./pymq.ts";
import { MAX_HELD, type Sizes } from "./sizes.ts";
import { type Answer, denial, outcomeForgotten, serverGone } from "./wire.ts";

/** Milliseconds that a multi-call waits after each answer for servers that are not registered. */
const GRACE = 500;

/** The largest number of characters of the requests to all servers together: they may have to be sent again to each of them. */
const MAX_REPEATED = 2 ** 27;

/** The parts of a bus that multi-calls use. */
export interface MultiCallParts {
  readonly core: Core;
  readonly directory: Directory;
  readonly pending: PendingCalls;
  readonly pymq: PymqCaller;
  /** The bytes of the answers (`heldBytes`) that the running multi-calls have received. */
  readonly held: Sizes;
}

/**
 * Calls all servers of a function. For each server that did not answer, the result contains an error. It waits for all registered servers.
 * For other subscribers of the topic, it waits only `GRACE` ms. But if one of them answers, as servers of PyMQ do, the others may be servers
 * too, so it waits for them until the deadline. Those that do not answer are not counted as servers for a while.
 */
export async function multiCall(call: Call, parts: MultiCallParts): Promise<(Answer | BusError)[]> {
  const { core, directory, pending, pymq, held } = parts;
  const { link, sender, envelopes, codec } = core;
  const { replies } = sender;
  const { fn } = call;
  let { listed, registered, present: servers } = await directory.proven(fn);
  const awaited = () => core.recovering(RECOVERY) || (registered.length > 0 && call.age < RECOVERY);
  for (let attempt = 1; servers.length === 0 && !call.over && awaited(); attempt++) {
    await pause(backoff(RETRY.prompt, attempt));
    ({ listed, registered, present: servers } = await directory.proven(fn));
  }
  if (registered.length > MAX_SERVERS) {
    throw new RpcError("too_large", `Cannot call "${fn}" on all its servers: more than ${MAX_SERVERS} are registered`);
  }
  if (servers.length > 1 && servers.length * call.size > MAX_REPEATED) {
    const sizes =
      `the arguments have ${call.size} characters, and the limit for all ${servers.length} is ${MAX_REPEATED}`;
    throw new RpcError("too_large", `Cannot call "${fn}" on all its servers: ${sizes}`);
  }
  call.next(); // a server that has refused the request refuses it again
  const subscribers = replies ? await replies.candidates(fn) : servers.length;
  if (servers.length === 0 && subscribers === 0) return [];
  /** The number of subscribers that were not registered. */
  const strangers = (subscribers ?? Infinity) - servers.length;
  const queue = replies && strangers > 0 && !envelopes.signed ? await pymq.open(call) : undefined;

  const answers: (Answer | BusError)[] = [];
  const { promise: done, resolve: finish, reject: fail } = Promise.withResolvers<void>();
  done.catch(() => {}); // it may fail before it is awaited
  const known = textSet(servers);
  const missing = new TextMap(servers.map((server) => [server, 0]));
  /** The servers that have answered, refused, or were lost. */
  const settled = new TextMap<true>();
  const silentBefore = pymq.silent.get(fn) ?? 0;
  /** The number of subscribers that the request reached; Infinity if it is not known. */
  let reached = Infinity;
  /** The number of registered servers that the request may not have reached, because they have ended. */
  let ended = 0;
  /** The number of refusals by servers that were not registered any more. */
  let refusals = 0;
  /** The answers of servers that were not registered. */
  let unregistered = 0;
  /** The number of subscribers that the request reached and that are neither registered nor have refused it. */
  const others = () => Math.min(strangers, reached - servers.length + ended) - refusals;
  const silent = () => Math.max(0, others() - unregistered);
  /** The number of other subscribers that may be servers, so that the call waits for them until the deadline. */
  const due = () => unregistered > 0 && others() < Infinity ? Math.max(0, silent() - silentBefore) : 0;
  /** The servers that have started since the registry was read and are not settled, once that is known. */
  let started: TextMap<true> | undefined = undefined;
  let grace: ReturnType<typeof setTimeout> | undefined;
  const judge = () => {
    clearTimeout(grace);
    if (call.over || !started || missing.size > 0 || due() > 0) return;
    const all = silent() === 0;
    if (all && started.size === 0) return finish();
    if (all || answers.length > 0) grace = setTimeout(finish, GRACE);
  };
  let [taken, bytes] = [0, 0];
  /** Counts an answer. Returns false if there are too many: anybody who has received the request can answer under any number of names. */
  const accepts = (size: number) => {
    if (call.over) return false;
    held.add(call.id, size);
    bytes += size;
    if (++taken <= MAX_SERVERS && held.accepts(call.id)) return true;
    const why = taken > MAX_SERVERS
      ? `more than ${MAX_SERVERS} answers have arrived`
      : `the answers take more than ${MAX_HELD[0]} bytes, or those to all such calls more than ${MAX_HELD[1]}`;
    fail(new RpcError("too_large", `Cannot call "${fn}" on all its servers: ${why}`));
    pending.cancel(call);
    pending.delete(call); // at once, because many more answers may follow in this turn
    answers.length = 0;
    return false;
  };
  call.cleanups.push(() => held.add(call.id, -bytes));
  const settle = (server: string, result: Answer | BusError | undefined, size = () => heldBytes(server)) => {
    if (settled.has(server) || !accepts(size())) return; // the request was sent again, or too many answer it
    settled.set(server, true);
    started?.delete(server);
    missing.delete(server);
    if (result) answers.push(result);
    if (known.has(server)) ended += result ? 0 : 1;
    else if (result) unregistered++; // this server has registered meanwhile
    else refusals++;
    judge();
  };
  /** Stops waiting for a server that has closed without an answer. An answer that arrives later still counts. */
  const leave = (server: string) => {
    if (!missing.delete(server)) return;
    ended++;
    judge();
  };
  pending.add({
    call,
    channel: queue?.name ?? "",
    servers: missing,
    answer: (answer, server, size) => {
      const refused = answer.call?.refused;
      settle(server, refused ? denial(fn, refused) : answer, () => size() + resultBytes(answer));
    },
    lost: (server, forgotten) => settle(server, (forgotten ? outcomeForgotten : serverGone)(fn, "a server")),
    // if the transport does not count subscribers, a server that closed may have ended before the request was published
    closed: core.features.counts ? undefined : leave,
  });
  // this ends just before the deadline of the call, which would discard the answers that have arrived
  const stop = after(Math.max(0, call.left - 5), () => {
    for (let i = missing.size + due(); i > 0; i--) {
      answers.push(new TimeoutError(`Cannot call "${fn}": a server did not answer in time`));
    }
    finish();
  });
  call.cleanups.push(stop, () => clearTimeout(grace));
  const inbox = await call.inbox(link);
  const publishing = sender.publish(
    fn,
    envelopes.seal("event", fn, codec.sendable(call.request(inbox, queue?.name ?? ""))),
  );
  // in the same turn: the servers and subscribers that the request reaches, without those that have ended and without patterns
  const { counts } = core.features;
  const registration = counts ? directory.registered(fn).catch(() => servers) : servers;
  const exact = counts ? replies?.candidates(fn).catch(() => undefined) : undefined;
  const published = await publishing ?? Infinity;
  reached = Math.min(published, await exact ?? published);
  if (reached === 0 && servers.length === 0) return [];
  const now = await registration;
  const [still, before] = [textSet(now), textSet(listed)];
  started = textSet(now.filter((server) => !before.has(server) && !settled.has(server)));
  const gone = servers.filter((server) => !still.has(server) && missing.has(server));
  if (gone.length > 0) void askGone(call, inbox, gone, parts).then((closed) => closed.forEach(leave));
  // all subscribers that the request did not reach may have been registered servers
  const changed = gone.length > 0 || reached < Math.max(servers.length, subscribers ?? 0);
  queue?.expect(changed ? Math.min(strangers, reached) : others());
  queue?.read((answer, size) => {
    if (!accepts(size() + resultBytes(answer))) return;
    unregistered++;
    if (answer) answers.push(answer);
    judge();
  }).catch(() => {}); // reading stops when the call ends or the transport fails; the deadline ends the call
  judge();
  await done;
  if (unregistered > 0 && (silent() < silentBefore || due() > 0)) pymq.silent.set(fn, silent());
  return answers;
}

/** Returns about how many bytes the type of a result takes that is beside it, as PyMQ writes a set: its user receives it restored. */
function resultBytes(answer: Answer | undefined): number {
  return answer && !answer.isError ? typeBytes(answer.resultType) : 0;
}

/**
 * Posts the request to servers that are no longer registered. A server whose bus is open answers the call or refuses it. Resolves with the
 * servers whose bus has closed: they did not run the call, or have answered it.
 */
async function askGone(
  call: Call,
  inbox: string,
  gone: readonly string[],
  { core, directory }: MultiCallParts,
): Promise<string[]> {
  // the checks of pending calls repeat it
  const ask = (server: string) => core.post(server, call.request(inbox, "")).catch(() => undefined);
  const there = await inParallel(gone, PARALLEL, ask);
  const closed = gone.filter((_, i) => there[i] === false);
  if (closed.length === 0) return [];
  await pause(GRACE); // the answer of a server that closed after the call may still arrive
  const registered = textSet(await directory.registered(call.fn).catch(() => gone));
  return closed.filter((server) => !registered.has(server));
}
