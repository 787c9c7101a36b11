/**
 * Closes a bus: it starts nothing more, waits for its handlers, and closes its transport, all by one deadline.
 *
 * @module
 */
import type { Dispatch } from "./pubsub/dispatch.ts";
import type { Core } from "./core.ts";
import { ClosedError } from "./errors.ts";
import type { CloseReport } from "./options.ts";
import type { Publisher } from "./pubsub/publisher.ts";
import type { Caller } from "./rpc/caller.ts";
import type { Server } from "./rpc/server.ts";
import { Deadline } from "./internal/time.ts";

/** The default timeout of `close` in milliseconds. */
export const CLOSE_TIMEOUT = 5_000;

/** The parts of a bus that have to end. */
export interface Parts {
  readonly dispatch: Dispatch;
  readonly server: Server;
  readonly caller: Caller;
  readonly publisher: Publisher;
}

/** The closing of a bus, which begins with the constructor. */
export class Closing {
  /** The report after all work has ended, except work that waits for this promise itself. The transport may still be open. */
  readonly stopped: Promise<CloseReport>;
  /** The final report. Never rejects. */
  readonly report: Promise<CloseReport>;
  #core: Core;
  #parts: Parts;
  /** The deadline of the handlers. */
  #handlers: Deadline;
  #all: Deadline;
  #before: number;
  #dropped: number;

  /** Begins to close: no further work starts. */
  constructor(core: Core, parts: Parts, timeout: number) {
    this.#core = core;
    this.#parts = parts;
    this.#handlers = new Deadline(timeout - reserve(timeout));
    this.#all = new Deadline(timeout);
    this.#before = core.handlers.finished;
    this.#dropped = parts.dispatch.stop();
    const intake = parts.server.stop();
    this.stopped = this.#stop(intake);
    this.report = this.#end(intake);
  }

  /** Brings the deadline forward to this number of milliseconds from now, unless it is earlier. */
  bringForward(timeout: number): void {
    this.#handlers.bring(timeout - reserve(timeout));
    this.#all.bring(timeout);
  }

  async #stop(intake: Promise<void>): Promise<CloseReport> {
    const { handlers, receives, decodings } = this.#core;
    await this.#handlers.within(
      Promise.all([intake, receives.idle().then(() => handlers.othersIdle()), decodings.idle()]),
    );
    const { finished, abandoned } = this.#count(handlers.others);
    return { finished, abandoned, dropped: this.#dropped, returned: 0, clean: true };
  }

  async #end(intake: Promise<void>): Promise<CloseReport> {
    const { handlers, receives, decodings, link, sender } = this.#core;
    const { server, caller, publisher } = this.#parts;
    await this.#handlers.within(Promise.all([intake, receives.idle().then(() => handlers.idle()), decodings.idle()]));
    const counted = this.#count(handlers.running);
    caller.close(new ClosedError());
    // leaves time for the last sends of handlers to arrive, and for the transport to close
    server.abandon();
    // on some transports, sends need the receiver too
    await Promise.all([this.#handlers.within(publisher.idle()), this.#all.within(server.idle())]);
    const { returned, uncertain, clean } = await link.close(this.#all.over);
    // the receiver may have received requests at its end
    await this.#all.within(decodings.idle().then(() => server.idle()));
    await this.#all.within(sender.close(this.#all.left));
    this.#handlers.end();
    this.#all.end();
    return { ...counted, dropped: this.#dropped, returned, ...uncertain > 0 && { uncertain }, clean };
  }

  #count(abandoned: number): Pick<CloseReport, "finished" | "abandoned"> {
    return { finished: this.#core.handlers.finished - this.#before, abandoned };
  }
}

/** Returns how many milliseconds of the timeout are reserved for the transport, which gives back the items of unfinished handlers. */
export function reserve(timeout: number): number {
  return Math.min(1_000, Math.max(timeout / 4, Math.min(250, timeout / 2)));
}
