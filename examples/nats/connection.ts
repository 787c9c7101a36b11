/**
 * The connection to NATS that each half uses. Every wait has a deadline, and every error is an error of tsmq.
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

/** The state changes that a connection reports. */
export interface Observer {
  /** The connection is restored. */
  up(): unknown;
  /** The connection broke. */
  down(error: ProviderError): void;
}

/** Milliseconds between two attempts to reconnect. The client adds a random time of up to half as many. */
const RETRY = 100;
/** Milliseconds between two pings, and the number of pings without an answer: a frozen server is noticed within 15 seconds. */
const PING = 5_000;
const MAX_PINGS_OUT = 2;

/**
 * Error codes that mean that a stream cannot be created at this moment: another client is creating it, or the server is removing the
 * directory of the last stream.
 */
const TEMPORARY: readonly number[] = [10065, 10049];
/** The number of attempts to create a stream. */
const ATTEMPTS = 50;
/** Milliseconds between two attempts, and between two checks of the connection. */
const PAUSE = 20;

/** The configuration of a stream and of its consumer. */
export type Stream =
  & Pick<StreamConfig, "name" | "subjects" | "storage">
  & Partial<StreamConfig>
  & { readonly consumer?: Partial<ConsumerConfig> };

/** A connection to NATS that reconnects by itself. Every operation on it has a deadline. */
export class Connection {
  /** The client's connection. */
  readonly nats: NatsConnection;
  /** Creates and deletes streams and consumers. */
  readonly manager: JetStreamManager;
  #timeout: number;
  #observer: Observer;
  /** Exists while the connection is up, and aborts when it breaks. A promise would keep every operation that was raced against it. */
  #broken: AbortController | undefined = new AbortController();
  #flushing: Promise<void> | undefined;
  #creating = new Map<string, Promise<void>>();

  private constructor(nats: NatsConnection, manager: JetStreamManager, timeout: number, observer: Observer) {
    this.nats = nats;
    this.manager = manager;
    this.#timeout = timeout;
    this.#observer = observer;
    void this.#watch();
  }

  /** Connects within `connectTimeout` ms. Later operations end within `timeout` ms. */
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
        maxPingOut: MAX_PINGS_OUT,
        ignoreAuthErrorAbort: true,
      });
      const manager = await jetstreamManager(nats, { checkAPI: false, timeout });
      return new Connection(nats, manager, timeout, observer);
    } catch (error) {
      throw toBusError("connect", error);
    }
  }

  /** Whether the connection is up. */
  get up(): boolean {
    return this.#broken !== undefined;
  }

  /** Aborts when the connection breaks. Already aborted if it is not up. */
  get broken(): AbortSignal {
    return this.#broken?.signal ?? AbortSignal.abort(unreachable("it is not connected"));
  }

  /** Runs an operation. Rejects if the connection breaks or the timeout is over. */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (!this.#broken) throw unreachable("it is not connected", what);
    const { signal } = this.#broken;
    const { promise: over, reject } = Promise.withResolvers<never>();
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end);
    const timer = setTimeout(() => reject(unreachable(`no answer within ${this.#timeout} ms`, what)), this.#timeout);
    try {
      return await Promise.race([work(), over]);
    } catch (error) {
      throw toBusError(what, error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  /** Resolves when the server has processed every earlier publish and subscribe. Calls of one turn share a ping. */
  flush(): Promise<void> {
    return this.#flushing ??= this.run("send", async () => {
      await undefined; // the rest of the turn
      this.#flushing = undefined;
      await this.nats.flush();
    });
  }

  /** Publishes a message. Resolves when the server has received it. */
  async publish(subject: string, body: string, options?: PublishOptions): Promise<void> {
    if (!this.#broken) throw unreachable("it is not connected", "publish");
    try {
      this.nats.publish(subject, body, options);
    } catch (error) {
      throw toBusError("publish", error);
    }
    await this.flush();
  }

  /** Sends a request. Resolves with the answer, or with undefined if nothing listens on the subject. */
  async request(subject: string, body: string): Promise<string | undefined> {
    try {
      return (await this.nats.request(subject, body, { timeout: this.#timeout })).string();
    } catch (error) {
      if (error instanceof RequestError && error.isNoResponders()) return undefined;
      throw error;
    }
  }

  /** Stores a message in a stream, and creates the stream if it is missing. Resolves with true if it created the stream. */
  async store(subject: string, body: string, stream: Stream): Promise<boolean> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const answer = await this.request(subject, body);
      if (answer !== undefined) {
        const { error } = JSON.parse(answer) as { error?: { description: string } };
        if (error) throw new ProviderError("internal", `Cannot store in "${stream.name}": ${error.description}`);
        return attempt > 0;
      }
      if (attempt > 0) await pause(PAUSE);
      await this.create(stream);
    }
    throw unreachable(`the stream "${stream.name}" accepts no messages`, "store");
  }

  /** Resolves when the connection is up, or after `ms`. */
  async recovered(ms: number): Promise<void> {
    for (const end = performance.now() + ms; !this.up && performance.now() < end;) await pause(PAUSE);
  }

  /** Sends what is pending, then closes the connection. */
  async close(): Promise<void> {
    this.#observer = { up: () => {}, down: () => {} };
    if (this.up) await this.flush().catch(() => {});
    await this.nats.close();
  }

  /** Closes the connection immediately. */
  abort(): void {
    this.#observer = { up: () => {}, down: () => {} };
    this.nats.close().catch(() => {});
  }

  /** Creates a stream. Concurrent calls for the same stream share one attempt. */
  create(stream: Stream): Promise<void> {
    const { name } = stream;
    const creating = this.#creating.get(name) ?? this.#createOnce(stream).finally(() => this.#creating.delete(name));
    this.#creating.set(name, creating);
    return creating;
  }

  async #createOnce({ consumer, ...stream }: Stream): Promise<void> {
    for (let attempt = 1;; attempt++) {
      try {
        await this.manager.streams.add(stream);
        if (consumer) await this.manager.consumers.add(stream.name, consumer);
        return;
      } catch (error) {
        const later = error instanceof JetStreamApiError && TEMPORARY.includes(error.code);
        if (attempt === ATTEMPTS || !later) throw error;
        await pause(PAUSE);
      }
    }
  }

  async #watch(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (status.type === "disconnect" && this.#broken) {
        const error = unreachable("the connection broke");
        this.#broken.abort(error);
        this.#broken = undefined;
        this.#observer.down(error);
      }
      if (status.type === "reconnect") {
        this.#broken = new AbortController();
        this.#observer.up();
      }
    }
    this.#broken?.abort(unreachable("it is closed"));
    this.#broken = undefined;
  }
}

/** Returns the stream of all registered servers, of every namespace. A registration expires unless it is renewed. */
export function registryStream(lease: number): Stream {
  return {
    name: "tsmq:servers",
    subjects: ["tsmq.*.s.*.*"],
    storage: StorageType.Memory,
    max_msgs_per_subject: 1,
    max_age: nanos(lease),
  };
}

/** Whether an error means that the stream or consumer does not exist. */
export function notFound(error: unknown): boolean {
  const { StreamNotFound, ConsumerNotFound } = JetStreamApiCodes;
  return error instanceof JetStreamApiError && (error.code === StreamNotFound || error.code === ConsumerNotFound);
}

/** Whether an error means that the server is unreachable. */
export function unavailable(error: unknown): boolean {
  return error instanceof BusError && error.code === "unavailable";
}

/** Maps every error of the client to an error of tsmq. */
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

function unreachable(why: string, what = "use the connection"): ProviderError {
  return new ProviderError("unavailable", `Cannot ${what} over NATS: ${why}`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
