/**
 * How a bus ends: it takes nothing more, its handlers finish, its transport is closed, all by one deadline.
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

/** The parts of a bus that have to end. */
export interface Parts {
  readonly dispatch: Dispatch;
  readonly server: Server;
  readonly caller: Caller;
  readonly publisher: Publisher;
}

/** The end of a bus, which begins when this is made. */
export class Closing {
  /** What became of the work when all had ended but that of those who wait for this themselves; the transport may still be open. */
  readonly stopped: Promise<CloseReport>;
  /** What became of everything. Never rejects. */
  readonly report: Promise<CloseReport>;
  #core: Core;
  #parts: Parts;
  /** Until then handlers may run. */
  #handlers: Deadline;
  #all: Deadline;
  #before: number;
  #dropped: number;

  /** Begins the end: nothing starts any more. */
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

  /** It has to be over in so many milliseconds from now, or earlier. */
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
    // what handlers have sent has a last moment to arrive; so has the transport to be closed
    await this.#all.within(publisher.idle());
    const { returned, uncertain, clean } = await link.close(this.#all.over);
    // the receiver's last look may have found requests
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

/** Milliseconds of a timeout that are kept for the transport: what handlers hold is given back in them. */
function reserve(timeout: number): number {
  return Math.min(1_000, Math.max(timeout / 4, Math.min(250, timeout / 2)));
}
