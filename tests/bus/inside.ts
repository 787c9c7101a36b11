import { expose, init, memory, type Provider, publish, queue, shutdown, stub, subscribe } from "../../mod.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";

/** The configuration of a bus in its own thread or process. */
export interface Place {
  readonly namespace: string;
  /** The URL of the server, or `ipc:`. Default: in memory. */
  readonly url?: string;
  /** The number of nested workers around it. */
  readonly depth: number;
  /** Whether a bus of the parent serves `outside` and calls `inside`. */
  readonly accompanied: boolean;
}

class Ping {
  static topic = "tests.Ping";
  constructor(readonly from: string) {}
}

function provider(url: string | undefined): Provider {
  if (url === undefined) return memory();
  return url === "ipc:" ? ipc() : redis({ url });
}

/** Opens, uses and closes the default bus in this thread or process. Returns the results. */
export async function live(place: Place): Promise<string[]> {
  const seen: string[] = [];
  const arrived = Promise.withResolvers<void>();
  subscribe(Ping, (ping) => {
    if (ping.from !== "inside") return;
    seen.push(`event ${ping instanceof Ping}`);
    arrived.resolve();
  });
  await expose("inside", (text: string) => `inside ${text}`);
  const served = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  await expose("wait", () => {
    served.resolve();
    return released.promise;
  });
  await init(provider(place.url), { namespace: place.namespace });
  await publish(new Ping("inside"));
  await arrived.promise;
  const jobs = queue<string>("jobs");
  await jobs.put("job");
  seen.push(await jobs.get());
  await jobs.free();
  seen.push(await stub<(text: string) => string>("inside")("calls itself"));
  // nothing waits for it any more, so it must not keep a thread or a process alive
  const abort = new AbortController();
  const given = stub("wait", { multi: true, signal: abort.signal, timeout: 600_000 })().catch(() => {});
  await served.promise;
  abort.abort();
  await given;
  released.resolve();
  if (place.accompanied) {
    seen.push(await stub<(text: string) => string>("outside")("is called"));
    // the parent calls `inside`, and reports it
    await queue("done").get({ timeout: 10_000 });
    await queue("done").free();
  }
  await shutdown();
  return seen;
}
