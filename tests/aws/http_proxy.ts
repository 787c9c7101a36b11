/** A proxy between the SDK and SNS/SQS. It counts the actions, and can answer instead of the service. */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";

/** A fault: what the proxy does with a request instead of passing it on. */
export type Fault =
  /** The service executes the request after `before` has resolved. Its answer waits for the result of `after`. */
  | { readonly before?: Promise<void>; after?(): Promise<void> }
  /** The service refuses or fails, with an HTTP status and an error name. `code` is its name in the old protocol of SQS. */
  | {
    readonly status: number;
    readonly name: string;
    readonly code?: string;
    readonly message?: string;
    after?(): Promise<void>;
  }
  /** The request is never answered. */
  | "hang"
  /** The connection is cut before the service receives the request. */
  | "cut"
  /** The service executes the request, but the answer is lost with the connection. */
  | "lose"
  /** The service executes the request, but the connection breaks in the middle of the answer. */
  | "tear";

/** A request that the proxy has received. */
export interface Seen {
  /** `sqs:SendMessageBatch` */
  readonly action: string;
  readonly body: string;
  /** The access key id that signed it. */
  readonly key: string;
  /** The time of its arrival, in milliseconds of `performance.now()`. */
  readonly at: number;
}

export class HttpProxy implements AsyncDisposable {
  readonly port: number;
  readonly seen: Seen[] = [];
  /** Milliseconds by which the clock of the service is ahead of this machine's. It refuses requests that were signed at another time. */
  ahead = 0;
  /** Returns the fault of each request, or undefined to pass the request on. */
  fault: (seen: Seen) => Fault | undefined = () => undefined;
  readonly #server: Server;
  readonly #target: number;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as { port: number }).port;
  }

  /** A proxy to a port of loopback. */
  static async to(target: number): Promise<HttpProxy> {
    const server = createServer();
    server.keepAliveTimeout = 0; // never: it must not close an idle connection in the moment in which a request arrives
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const proxy = new HttpProxy(server, target);
    server.on("request", (asked, answer) => void proxy.#handle(asked, answer).catch(() => {})); // the client has gone
    return proxy;
  }

  /** Returns the number of requests for this action. */
  count(action: string): number {
    return this.seen.filter((seen) => seen.action === action).length;
  }

  /** Injects a fault into the next `times` requests for an action, or of this kind. */
  next(asked: string | ((seen: Seen) => boolean), fault: Fault, times = 1): void {
    let left = times;
    const before = this.fault;
    const isAsked = typeof asked === "string" ? ({ action }: Seen) => action === asked : asked;
    this.fault = (seen) => left > 0 && isAsked(seen) ? (left--, fault) : before(seen);
  }

  /** Holds the answer to the next request for an action that contains `part`. `done` resolves when the service has answered. */
  hold(action: string, part = "", fault: Fault & object = {}): { readonly done: Promise<void>; answer(): void } {
    const service = Promise.withResolvers<void>();
    const test = Promise.withResolvers<void>();
    const after = () => (service.resolve(), test.promise);
    const before = this.fault;
    this.fault = (seen) => {
      if (seen.action !== action || !seen.body.includes(part)) return before(seen);
      this.fault = before;
      return { ...fault, after };
    };
    return { done: service.promise, answer: test.resolve };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  get #date(): string {
    return new Date(Date.now() + this.ahead).toUTCString();
  }

  #skewed(asked: IncomingMessage): Fault | undefined {
    const [, date, time] = /^(\d{8})T(\d{6})Z$/.exec(String(asked.headers["x-amz-date"])) ?? [];
    if (date === undefined || time === undefined) return undefined;
    const signed = Date.parse(`${date.replace(/(..)(..)$/, "-$1-$2")}T${time.replace(/(..)(..)$/, ":$1:$2")}Z`);
    if (Math.abs(Date.now() + this.ahead - signed) < SKEW) return undefined;
    return { status: 403, name: "InvalidSignatureException", message: "Signature expired" };
  }

  async #handle(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    asked.on("error", () => {});
    const chunks: Uint8Array[] = [];
    for await (const chunk of asked) chunks.push(chunk as Uint8Array);
    const body = new TextDecoder().decode(join(chunks));
    const seen = { action: actionOf(asked, body), body, key: keyOf(asked), at: performance.now() };
    this.seen.push(seen);
    const fault = this.fault(seen) ?? this.#skewed(asked);
    if (fault === "hang") return;
    if (fault === "cut") return void asked.socket.destroy();
    if (typeof fault === "object" && "status" in fault) {
      await fault.after?.();
      answer.setHeader("date", this.#date);
      return refuse(answer, fault, seen.action.startsWith("sns:"));
    }
    if (typeof fault === "object") await fault.before;
    const { method, url, headers } = asked;
    const passed = request({ host: "127.0.0.1", port: this.#target, method, path: url, headers }, async (response) => {
      if (typeof fault === "object") await fault.after?.();
      if (fault === "lose") {
        response.on("end", () => asked.socket.destroy());
        return void response.resume();
      }
      answer.writeHead(response.statusCode ?? 500, { ...response.headers, date: this.#date });
      if (fault !== "tear") return void response.pipe(answer);
      response.once("data", (chunk: Uint8Array) => {
        answer.write(chunk.subarray(0, chunk.length / 2), () => asked.socket.destroy());
        response.resume();
      });
    });
    passed.on("error", () => asked.socket.destroy());
    // a poll that the client cancels is cancelled here too
    answer.on("close", () => passed.destroy());
    passed.end(join(chunks));
  }
}

/** The largest difference in milliseconds between clocks that AWS accepts. */
const SKEW = 5 * 60_000;

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function actionOf(asked: IncomingMessage, body: string): string {
  const target = asked.headers["x-amz-target"];
  if (typeof target === "string") return `sqs:${target.slice(target.indexOf(".") + 1)}`;
  return `sns:${new URLSearchParams(body).get("Action")}`;
}

function keyOf(asked: IncomingMessage): string {
  return /Credential=([^/]+)/.exec(asked.headers.authorization ?? "")?.[1] ?? "";
}

function refuse(answer: ServerResponse, fault: Extract<Fault, { status: number }>, xml: boolean): void {
  const { status, name, code = name, message = "made by a test" } = fault;
  const type = status < 500 ? "Sender" : "Receiver";
  if (xml) {
    answer.writeHead(status, { "content-type": "text/xml" });
    answer.end(
      `<ErrorResponse><Error><Type>${type}</Type><Code>${name}</Code><Message>${message}</Message></Error></ErrorResponse>`,
    );
    return;
  }
  answer.writeHead(status, { "content-type": "application/x-amz-json-1.0", "x-amzn-query-error": `${code};${type}` });
  answer.end(JSON.stringify({ __type: `com.amazonaws.sqs#${name}`, message }));
}
