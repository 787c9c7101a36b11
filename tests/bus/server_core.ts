/** The parts of a bus that a server uses, without a transport. */
import { Codec } from "../../src/codec/codec.ts";
import type { Core } from "../../src/core.ts";
import { PendingWork } from "../../src/internal/pending_work.ts";

/** Returns the core for a server that posts its messages with `post`. */
export function serverCore(post: Core["post"]): Core {
  const stream = { ready: Promise.resolve(), credit: () => {}, close: () => Promise.resolve() };
  return {
    link: { inbox: "server", subscribe: () => stream },
    post,
    codec: new Codec(),
    features: { maxBody: Infinity },
    telemetry: { observe: (_verb: string, _name: string, work: () => unknown) => work() },
    handlers: new PendingWork(),
    closing: new AbortController().signal,
    report: () => {},
    reject: () => {},
    recovering: () => false,
  } as unknown as Core;
}
