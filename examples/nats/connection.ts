/**
 * One connection to NATS, as either half uses it: every wait ends, and every error is one of the bus.
 *
 * @module
 */
import { JetStreamApiCodes, JetStreamApiError, jetstreamManager, StorageType } from "@nats-io/jetstream";
import type { ConsumerConfig, JetStreamManager, StreamConfig } from "@nats-io/jetstream";
import { AuthorizationError, connect, InvalidArgumentError, type NatsConnection } from "@nats-io/transport-node";
import { nanos, PermissionViolationError, type PublishOptions, RequestError } from "@nats-io/transport-node";
import { BusError, ProviderError } from "@tsmq/tsmq/worker";

/** Options of the provider, with every default filled in. */
export interface Settings {
  readonly servers: readonly string[];
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
  readonly maxPayload: number;
}

/** What a connection says. */
export interface Observer {
  /** It is up again. */
  up(): unknown;
  /** It broke. */
  down(error: ProviderError): void;
}

/** Milliseconds between two attempts to connect again; half as many are added by chance. */
const RETRY = 100;
/** Milliseconds between two pings, and how many may stay unanswered: a frozen server is noticed within 15 seconds. */
const PING = 5_000;
const UNANSWERED = 2;

/**
 * The server's words for a stream that cannot be made at this moment: somebody else is making it; its files cannot be, for one
 * because the directory of all streams is just going with the last of them.
 */
const NOT_NOW: readonly number[] = [10065, 10049];
/** How often, and after how many milliseconds, a stream that is being made is looked for again. */
const ATTEMPTS = 50;
const AGAIN = 20;

/** A stream, and who takes from it. */
export type Stream =
  & Pick<StreamConfig, "name" | "subjects" | "storage">
  & Partial<StreamConfig>
  & { readonly consumer?: Partial<ConsumerConfig> };

/** A connection to NATS that reconnects by itself. Every wait on it ends. */
export class Connection {
  /** The client's connection. */
  readonly nats: NatsConnection;
  /** Makes and deletes streams and consumers. */
  readonly manager: JetStreamManager;
  #timeout: number;
  #observer: Observer;
  /** While it is up. A signal, not a promise: that would keep whatever was ever raced against it. */
  #broken: AbortController | undefined = new AbortController();
  #flushing: Promise<void> | undefined;
  #making = new Map<string, Promise<void>>();

  private constructor(nats: NatsConnection, manager: JetStreamManager, timeout: number, observer: Observer) {
    this.nats = nats;
    this.manager = manager;
    this.#timeout = timeout;
    this.#observer = observer;
    void this.#watch();
  }

  /** Connects within `connectTimeout`; whatever is asked of it later ends within `timeout`. */
  static async open(
    { servers, user, pass, token }: Settings,
    connectTimeout: number,
    timeout: number,
    observer: Observer,
  ): Promise<Connection> {
    try {
      const nats = await connect({
        servers: [...servers],
        user,
        pass,
        token,
        timeout: connectTimeout,
        maxReconnectAttempts: -1,
        reconnectTimeWait: RETRY,
        reconnectJitter: RETRY / 2,
        pingInterval: PING,
        maxPingOut: UNANSWERED,
        ignoreAuthErrorAbort: true,
      });
      const manager = await jetstreamManager(nats, { checkAPI: false, timeout });
      return new Connection(nats, manager, timeout, observer);
    } catch (error) {
      throw toBusError("connect", error);
    }
  }

  /** Whether it is up. */
  get up(): boolean {
    return this.#broken !== undefined;
  }

  /** Aborts when the connection breaks; has aborted if it is not up. */
  get broken(): AbortSignal {
    return this.#broken?.signal ?? AbortSignal.abort(outOfReach("it is not connected"));
  }

  /** Does something that ends with the connection, and within the timeout, at the latest. */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (!this.#broken) throw outOfReach("it is not connected", what);
    const { signal } = this.#broken;
    const { promise: over, reject } = Promise.withResolvers<never>();
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end);
    const timer = setTimeout(() => reject(outOfReach(`no answer within ${this.#timeout} ms`, what)), this.#timeout);
    try {
      return await Promise.race([work(), over]);
    } catch (error) {
      throw toBusError(what, error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  /** Resolves when the server has all that was published or subscribed before. One ping for all who ask in one turn. */
  flush(): Promise<void> {
    return this.#flushing ??= this.run("send", async () => {
      await undefined; // the rest of the turn
      this.#flushing = undefined;
      await this.nats.flush();
    });
  }

  /** Publishes; resolves when the server has it. */
  async publish(subject: string, body: string, options?: PublishOptions): Promise<void> {
    if (!this.#broken) throw outOfReach("it is not connected", "publish");
    try {
      this.nats.publish(subject, body, options);
    } catch (error) {
      throw toBusError("publish", error);
    }
    await this.flush();
  }

  /** Asks, and resolves with the answer; undefined: there is nobody to answer. */
  async request(subject: string, body: string): Promise<string | undefined> {
    try {
      return (await this.nats.request(subject, body, { timeout: this.#timeout })).string();
    } catch (error) {
      if (error instanceof RequestError && error.isNoResponders()) return undefined;
      throw error;
    }
  }

  /** Stores a message in a stream, which is made if nobody stores this subject; true: it was. */
  async store(subject: string, body: string, stream: Stream): Promise<boolean> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const answer = await this.request(subject, body);
      if (answer !== undefined) {
        const { error } = JSON.parse(answer) as { error?: { description: string } };
        if (error) throw new ProviderError("internal", `Cannot store in "${stream.name}": ${error.description}`);
        return attempt > 0;
      }
      if (attempt > 0) await pause(AGAIN);
      await this.#make(stream);
    }
    throw outOfReach(`"${stream.name}" does not take messages`, "store");
  }

  /** Resolves when it is up, or `ms` have passed. */
  async recovered(ms: number): Promise<void> {
    for (const end = performance.now() + ms; !this.up && performance.now() < end;) await pause(AGAIN);
  }

  /** Ends it, when what was sent has left. */
  async close(): Promise<void> {
    this.#observer = { up: () => {}, down: () => {} };
    if (this.up) await this.flush().catch(() => {});
    await this.nats.close();
  }

  /** Once at a time for each: many who put the first item would otherwise all make the queue. */
  #make(stream: Stream): Promise<void> {
    const { name } = stream;
    const making = this.#making.get(name) ?? this.#makeOnce(stream).finally(() => this.#making.delete(name));
    this.#making.set(name, making);
    return making;
  }

  async #makeOnce({ consumer, ...stream }: Stream): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        await this.manager.streams.add(stream);
        if (consumer) await this.manager.consumers.add(stream.name, consumer);
        return;
      } catch (error) {
        const later = error instanceof JetStreamApiError && NOT_NOW.includes(error.code);
        if (attempt === ATTEMPTS || !later) throw error;
        await pause(AGAIN);
      }
    }
  }

  async #watch(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (status.type === "disconnect" && this.#broken) {
        const error = outOfReach("the connection broke");
        this.#broken.abort(error);
        this.#broken = undefined;
        this.#observer.down(error);
      }
      if (status.type === "reconnect") {
        this.#broken = new AbortController();
        this.#observer.up();
      }
    }
    this.#broken?.abort(outOfReach("it is closed"));
    this.#broken = undefined;
  }
}

/** The one stream that knows who serves what, of all namespaces: a registration lapses unless it is made again. */
export function registryStream(lease: number): Stream {
  return {
    name: "tsmq:servers",
    subjects: ["tsmq.*.s.*.*"],
    storage: StorageType.Memory,
    max_msgs_per_subject: 1,
    max_age: nanos(lease),
  };
}

/** Whether an error says that there is no such stream or consumer. */
export function notFound(error: unknown): boolean {
  const { StreamNotFound, ConsumerNotFound } = JetStreamApiCodes;
  return error instanceof JetStreamApiError && (error.code === StreamNotFound || error.code === ConsumerNotFound);
}

/** Whether an error says that the server is out of reach. */
export function unavailable(error: unknown): boolean {
  return error instanceof BusError && error.code === "unavailable";
}

/** The table of errors: whatever the client throws, as one of the bus. */
export function toBusError(what: string, error: unknown): BusError {
  if (error instanceof BusError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code = error instanceof AuthorizationError || error instanceof PermissionViolationError
    ? "denied"
    : error instanceof InvalidArgumentError && text.includes("max_payload")
    ? "too_large"
    : error instanceof JetStreamApiError
    ? "internal"
    : "unavailable";
  return new ProviderError(code, `Cannot ${what} over NATS: ${text}`, { cause: error });
}

function outOfReach(why: string, what = "use the connection"): ProviderError {
  return new ProviderError("unavailable", `Cannot ${what} over NATS: ${why}`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
