/**
 * An HTTP server for one user of this machine. A secret token is the first part of every path, so neither a page of another origin nor
 * another user can read or change anything.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIP } from "node:net";
import { textOf } from "../src/internal/thrown.ts";

/** The largest body of a request in bytes. */
const MAX_BODY = 65_536;
/** The largest number of characters that wait for a viewer. Beyond it, the viewer is disconnected, and its page connects again. */
const MAX_UNSENT = 16_777_216;
/** The largest number of connections. Usual programs may have 1,024 descriptors; without any left, Bun tries again without a pause. */
const MAX_CONNECTIONS = 256;

/** The headers of every answer: the page loads nothing from elsewhere, runs only its own script, and cannot be shown in a frame. */
const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'",
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  ].join("; "),
  "cache-control": "no-store",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** An answer to a request. */
export interface Answer {
  readonly status?: number;
  readonly type: string;
  readonly body: string;
}

/** A request to a route. */
export interface Query {
  /** The parameters of the address. */
  readonly parameters: URLSearchParams;
  /** The body of the request. Empty for GET. */
  readonly body: string;
}

/** Sends a text as an event of a stream. Does nothing after the viewer has gone. */
export type Send = (data: string) => void;

/** The routes by method and path below the token. */
export interface Routes {
  readonly answers: Readonly<Record<string, (query: Query) => Answer | Promise<Answer>>>;
  /** Streams of events. Each function is called with a new viewer, and returns a function to call when that viewer has left. */
  readonly streams: Readonly<Record<string, (send: Send) => () => void>>;
}

/** An error whose message the answer contains. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A running server. */
export class Site implements AsyncDisposable {
  /** The address of the site, with the IP address on which it listens and the token. */
  readonly url: string;
  readonly #server: Server;
  readonly #host: string;
  readonly #token: Uint8Array;
  readonly #routes: Routes;

  private constructor(server: Server, host: string, routes: Routes) {
    const token = randomBytes(24).toString("base64url");
    // a name may have a second address, where another user of the machine would receive the token
    const { address, port } = server.address() as { address: string; port: number };
    this.#server = server;
    this.#host = host;
    this.#token = digest(token);
    this.#routes = routes;
    this.url = `http://${isIP(address) === 6 ? `[${address}]` : address}:${port}/${token}/`;
    server.on("request", (request, response) => void this.#serve(request, response));
  }

  /** Listens on an address and a port. Port 0 chooses a free one. */
  static async listen(host: string, port: number, routes: Routes): Promise<Site> {
    const server = createServer();
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, () => {
        server.off("error", reject);
        resolve();
      });
    });
    return new Site(server, host, routes);
  }

  /** Ends all connections and stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // the viewer may disconnect while it is answered
    response.on("error", () => {});
    try {
      const { method = "", headers, url = "" } = request;
      this.#checkOrigin(headers.host, headers.origin);
      const [path = "", query = ""] = url.split("?", 2);
      const [, token = "", rest] = /^\/([^/]*)(?:\/(.*))?$/.exec(path) ?? [];
      if (!timingSafeEqual(digest(token), this.#token) || rest === undefined) {
        throw new Refusal(403, "Open the address that `tsmq ui` has printed: it contains this dashboard's token");
      }
      const stream = method === "GET" && own(this.#routes.streams, rest);
      if (stream) return this.#stream(response, stream);
      const answer = own(this.#routes.answers, `${method} ${rest}`);
      if (!answer) throw new Refusal(404, "There is nothing at this address");
      const body = method === "POST" ? await read(request) : "";
      send(response, await answer({ parameters: new URLSearchParams(query), body }));
    } catch (error) {
      const status = error instanceof Refusal ? error.status : 500;
      send(response, { status, type: "text/plain", body: textOf(error) });
    }
  }

  /**
   * Refuses a request by a host name that foreign DNS may have pointed to this machine, and a request from a page of another origin. The
   * port may be that of a tunnel.
   */
  #checkOrigin(host: string | undefined, origin: string | undefined): void {
    const name = host === undefined ? "" : nameOf(host);
    if (name !== "localhost" && name !== this.#host && isIP(name) === 0) {
      throw new Refusal(403, "Open this dashboard by an IP address or localhost: other host names are refused");
    }
    if (origin !== undefined && origin !== `http://${host}`) {
      throw new Refusal(403, "This dashboard refuses requests from pages of another origin");
    }
  }

  #stream(response: ServerResponse, open: (send: Send) => () => void): void {
    response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream" });
    // milliseconds until a page connects again
    response.write("retry: 1000\n");
    const left = open((data) => {
      if (response.destroyed) return;
      if (response.writableLength > MAX_UNSENT) return void response.destroy();
      response.write(`data: ${data}\n\n`);
    });
    response.once("close", left);
  }
}

function own<T>(routes: Readonly<Record<string, T>>, path: string): T | undefined {
  return Object.hasOwn(routes, path) ? routes[path] : undefined;
}

/** Returns the name or the address in a Host header: an empty string if the header is malformed. */
function nameOf(host: string): string {
  try {
    return new URL(`http://${host}`).hostname.replace(/^\[(.*)\]$/, "$1");
  } catch {
    return "";
  }
}

/** Returns the digest of a token. Tokens are compared by their digests, because these have the same length. */
function digest(token: string): Uint8Array {
  return createHash("sha256").update(token).digest();
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Refusal(413, `A request has at most ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function send(response: ServerResponse, { status = 200, type, body }: Answer): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { ...HEADERS, "content-type": `${type}; charset=utf-8` });
  response.end(body);
}
