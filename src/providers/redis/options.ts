/**
 * What a Redis bus can be told, and how it is checked: a wrong option is a `ValidationError` at once, not a fault later.
 *
 * @module
 */
import type { RedisOptions as IoRedisOptions } from "ioredis";
import { type Issue, ValidationError } from "../../errors.ts";

/** Where a server listens. */
export interface Address {
  /** Name or IP address. */
  readonly host: string;
  /** TCP port. */
  readonly port: number;
}

/** TLS settings: those of `node:tls` that are plain data. Certificates and keys are PEM texts. */
export interface RedisTls {
  /** Authorities to trust instead of the system's. */
  readonly ca?: string | readonly string[];
  /** Our certificate, where the server asks for one. */
  readonly cert?: string;
  /** The key of {@linkcode RedisTls.cert}. */
  readonly key?: string;
  /** Opens {@linkcode RedisTls.key}. */
  readonly passphrase?: string;
  /** The name that the server's certificate must bear. Default: the host. */
  readonly servername?: string;
  /** False trusts any certificate: for tests only. Default true. */
  readonly rejectUnauthorized?: boolean;
  /** The oldest protocol accepted. Default: the runtime's. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

/** Options of `redis()`. All of it is plain data, for it is posted to the worker. */
export interface RedisOptions {
  /**
   * `redis://user:password@host:port/db`, `rediss://…` for TLS, or `unix:///path/of/socket`. Other options win over its parts.
   * Default `redis://127.0.0.1:6379/0`.
   */
  readonly url?: string;
  /** Default `"127.0.0.1"`. */
  readonly host?: string;
  /** Default 6379. */
  readonly port?: number;
  /** A Unix socket, instead of host and port. */
  readonly path?: string;
  /** The ACL user. Default: Redis' own, `default`. */
  readonly username?: string;
  /** The user's password. */
  readonly password?: string;
  /** The number of the database, for queues; pub/sub has none. Default 0. */
  readonly db?: number;
  /** True, or settings, for TLS. Default: by the URL. */
  readonly tls?: boolean | RedisTls;
  /** The Sentinels to ask for the master; with {@linkcode RedisOptions.name}. */
  readonly sentinels?: readonly Address[];
  /** The name of the master, as the Sentinels know it. */
  readonly name?: string;
  /** The Sentinels' own ACL user. */
  readonly sentinelUsername?: string;
  /** The Sentinels' own password. */
  readonly sentinelPassword?: string;
  /** TLS towards the Sentinels. Default false. */
  readonly sentinelTls?: boolean | RedisTls;
  /** Some nodes of a Redis Cluster, as addresses or URLs; the others are found through them. */
  readonly cluster?: readonly (Address | string)[];
  /**
   * Milliseconds between attempts to connect again: doubled from `min` to `max`, with jitter, for ever.
   * Default `{ min: 50, max: 2_000 }`.
   */
  readonly retry?: { readonly min?: number; readonly max?: number };
  /**
   * The largest event in bytes. A server cuts off a subscriber for whom more than its `client-output-buffer-limit pubsub` waits,
   * so a larger event would reach nobody. Raise both together. Default 32 MiB, Redis' own default.
   */
  readonly maxEvent?: number;
}

/** Options with every default filled in; what the worker gets. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls?: RedisTls;
  readonly sentinels?: readonly Address[];
  readonly name?: string;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly sentinelTls?: RedisTls;
  readonly cluster?: readonly Address[];
  readonly retry: { readonly min: number; readonly max: number };
  readonly maxEvent: number;
}

/** Redis' own limit of one string: `proto-max-bulk-len`, 512 MB. */
export const MAX_BODY = 512 * 1024 * 1024;
/** Redis' default hard limit of `client-output-buffer-limit pubsub`. */
const MAX_EVENT = 32 * 1024 * 1024;
const PORT = 6379;

type Check = (value: unknown, path: string[], issues: Issue[]) => void;

function check(what: string, holds: (value: unknown) => boolean): Check {
  return (value, path, issues) => {
    if (!holds(value)) issues.push({ path, message: `must be ${what}, not ${show(value)}` });
  };
}

const text = check("a non-empty string", (value) => typeof value === "string" && value !== "");
const port = check("a port", (value) => whole(value) && value > 0 && value < 65_536);
const count = check("a whole number of at least 0", whole);
const ms = check("milliseconds, above 0", (value) => typeof value === "number" && value > 0 && value < 2 ** 31);
const size = check("a number of bytes, above 0", (value) => whole(value) && value > 0);
const flag = check("true or false", (value) => typeof value === "boolean");
const version = check('"TLSv1.2" or "TLSv1.3"', (value) => value === "TLSv1.2" || value === "TLSv1.3");

const either = (first: Check, rest: Check): Check => (value, path, issues) => {
  const own: Issue[] = [];
  first(value, path, own);
  if (own.length > 0) rest(value, path, issues);
};

const list = (item: Check): Check => (value, path, issues) => {
  if (!Array.isArray(value) || value.length === 0) {
    issues.push({ path, message: `must be a list that is not empty, not ${show(value)}` });
    return;
  }
  value.forEach((one, index) => item(one, [...path, String(index)], issues));
};

const shape = (fields: Record<string, Check>, required: readonly string[] = []): Check => (value, path, issues) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    issues.push({ path, message: `must be an object, not ${show(value)}` });
    return;
  }
  const given = Object.entries(value).filter(([, one]) => one !== undefined);
  for (const [name, one] of given) {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field) field(one, [...path, name], issues);
    else issues.push({ path: [...path, name], message: "is no option of this provider" });
  }
  for (const name of required) {
    if (!given.some(([key]) => key === name)) issues.push({ path: [...path, name], message: "is missing" });
  }
};

const address = shape({ host: text, port }, ["host", "port"]);
const tls = either(
  flag,
  shape({
    ca: either(text, list(text)),
    cert: text,
    key: text,
    passphrase: text,
    servername: text,
    rejectUnauthorized: flag,
    minVersion: version,
  }),
);
const OPTIONS = shape({
  url: text,
  host: text,
  port,
  path: text,
  username: text,
  password: text,
  db: count,
  tls,
  sentinels: list(address),
  name: text,
  sentinelUsername: text,
  sentinelPassword: text,
  sentinelTls: tls,
  cluster: list(either(text, address)),
  retry: shape({ min: ms, max: ms }),
  maxEvent: size,
});

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ValidationError} with one issue for each thing that is wrong
 */
export function parseOptions(options: RedisOptions): Settings {
  const issues: Issue[] = [];
  OPTIONS(options, [], issues);
  if (issues.length === 0) together(options, issues);
  const nodes = issues.length === 0 ? options.cluster?.map((node, index) => seed(node, index, issues)) : undefined;
  const url = issues.length === 0 && options.url !== undefined ? parseUrl(options.url, ["url"], issues) : {};
  if (issues.length > 0) throw invalid(issues);
  const first = nodes?.[0] ?? {};
  const { host = "127.0.0.1", port = PORT, db = 0, ...rest } = { ...first, ...url, ...defined(options) };
  const min = options.retry?.min ?? 50;
  return defined({
    host,
    port,
    db,
    path: rest.path,
    username: rest.username,
    password: rest.password,
    tls: tlsOf(rest.tls),
    sentinels: options.sentinels,
    name: options.name,
    sentinelUsername: options.sentinelUsername,
    sentinelPassword: options.sentinelPassword,
    sentinelTls: tlsOf(options.sentinelTls),
    cluster: nodes?.map((node) => ({ host: node.host ?? host, port: node.port ?? PORT })),
    retry: { min, max: Math.max(min, options.retry?.max ?? 2_000) },
    maxEvent: options.maxEvent ?? MAX_EVENT,
  });
}

/** The settings in ioredis' terms; where Sentinels tell the address, without it. */
export function serverOptions(settings: Settings): IoRedisOptions {
  const { path, tls, username, password, db } = settings;
  return {
    // a user without a password is let in with any
    username,
    password: username === undefined ? password : password ?? "",
    db,
    tls: tls as IoRedisOptions["tls"],
    ...path === undefined ? addresses(settings)[0] : { path },
  };
}

/** Where a single connection may go: any node of a Cluster, or the one server. */
export function addresses(settings: Settings): readonly Address[] {
  return settings.cluster ??
    (settings.path || settings.sentinels ? [] : [{ host: settings.host, port: settings.port }]);
}

/** Milliseconds to wait after so many failed attempts: doubled each time, half of it by chance, so that not all come at once. */
export function retryDelay({ retry }: Settings, attempts: number): number {
  return Math.min(retry.max, retry.min * 2 ** Math.min(attempts, 30)) * (0.5 + Math.random() / 2);
}

/** What makes sense only together, or only alone. */
function together(options: RedisOptions, issues: Issue[]): void {
  const wrong = (name: string, message: string) => issues.push({ path: [name], message });
  if (options.sentinels && !options.name) wrong("name", "is missing: the Sentinels must be asked for a master by name");
  if (options.name && !options.sentinels) wrong("sentinels", "is missing: a name is one that Sentinels know");
  if (options.sentinels && options.cluster) wrong("cluster", "cannot be combined with sentinels");
  for (const single of ["url", "host", "port", "path"] as const) {
    if (options[single] === undefined) continue;
    if (options.sentinels) wrong(single, "cannot be combined with sentinels, which tell the address");
    if (options.cluster) wrong(single, "cannot be combined with cluster, whose nodes have addresses");
  }
  if (options.path && (options.host || options.port)) wrong("path", "cannot be combined with host or port");
  if (options.cluster && options.db) wrong("db", "must be 0: a Redis Cluster has no other");
}

type Parts = Partial<Pick<RedisOptions, "host" | "port" | "path" | "username" | "password" | "db" | "tls">>;

function seed(node: Address | string, index: number, issues: Issue[]): Parts {
  if (typeof node !== "string") return node;
  const path = ["cluster", String(index)];
  const parts = parseUrl(node, path, issues);
  if (parts.path) issues.push({ path, message: "must be the address of a node, not a socket" });
  if (parts.db) issues.push({ path, message: "must name no database but 0: a Redis Cluster has no other" });
  return parts;
}

function parseUrl(text: string, path: string[], issues: Issue[]): Parts {
  const wrong = (message: string): Parts => {
    issues.push({ path, message });
    return {};
  };
  // the text is not repeated in any message: it may hold a password
  if (!URL.canParse(text)) return wrong("is not a URL such as redis://127.0.0.1:6379");
  const url = new URL(text);
  if (url.search || url.hash) return wrong("must have neither ?query nor #fragment: give options instead");
  let user: Parts;
  let rest: string;
  try {
    user = defined({
      username: decodeURIComponent(url.username) || undefined,
      password: decodeURIComponent(url.password) || undefined,
    });
    rest = decodeURIComponent(url.pathname);
  } catch {
    return wrong("has a part that is not percent-encoded properly");
  }
  if (url.protocol === "unix:") {
    if (url.host) return wrong("must have three slashes before the path of a socket: unix:///path");
    return rest ? { path: rest } : wrong("names no socket");
  }
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") {
    return wrong(`must begin with redis://, rediss:// or unix://, not ${url.protocol}`);
  }
  const db = rest.replace(/^\//, "");
  if (!/^\d*$/.test(db)) return wrong("must end with the number of a database, if with anything");
  return defined({
    ...user,
    host: url.hostname.replace(/^\[(.*)\]$/, "$1") || undefined,
    port: url.port ? Number(url.port) : undefined,
    db: db ? Number(db) : undefined,
    tls: url.protocol === "rediss:" ? true : undefined,
  });
}

function tlsOf(tls: boolean | RedisTls | undefined): RedisTls | undefined {
  return tls === true ? {} : tls || undefined;
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}

function whole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function show(value: unknown): string {
  if (typeof value === "function") return "a function, which cannot be posted to a worker";
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "a list" : "an object";
  return typeof value === "string" ? "a string" : String(value);
}

function invalid(issues: Issue[]): ValidationError {
  const told = issues.map(({ path, message }) => path?.length ? `${path.join(".")} ${message}` : `options ${message}`);
  return new ValidationError(`Cannot make a Redis provider: ${told.join("; ")}`, issues);
}
