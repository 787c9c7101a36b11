/**
 * The options of a Redis provider and their checks.
 *
 * @module
 */
import * as v from "valibot";
import type { Issue } from "../../errors.ts";
import {
  callable,
  fields,
  flag,
  invalidOptions,
  milliseconds,
  must,
  parseOptions as parse,
  text,
  whole,
  workerUrl,
} from "../../internal/options.ts";
import { checkLogin } from "./login.ts";
import type { Address, RedisCredentials, RedisTls, Settings } from "./settings.ts";

/** Options of `redis()`. A printed provider does not show the secrets among them. */
export interface RedisOptions {
  /**
   * The URL of the server: `redis://user:password@host:port/db`, `rediss://…` for TLS, or `unix:///path/of/socket`. Other options override
   * its parts. Default `redis://127.0.0.1:6379/0`, as of other clients of Redis, also if it is `undefined` because a variable of the
   * environment is not set. A program that must not start without it checks the variable first.
   */
  readonly url?: string;
  /** Host name or IP address of the server. Default `"127.0.0.1"`. */
  readonly host?: string;
  /** TCP port of the server. Default 6379. */
  readonly port?: number;
  /** Path of a Unix socket, instead of host and port. */
  readonly path?: string;
  /** The ACL user. Default: `default`, as in Redis. */
  readonly username?: string;
  /** The password of the user. */
  readonly password?: string;
  /**
   * A function that returns the login, instead of `username` and `password`, for passwords that change. It runs on the main thread, once
   * for each new connection. Default: none.
   */
  readonly credentials?: () => RedisCredentials | Promise<RedisCredentials>;
  /** The number of the database for queues. Events are the same in all databases. Default 0. */
  readonly db?: number;
  /** Whether to use TLS, or its settings. Default: true for `rediss://`, otherwise false. */
  readonly tls?: boolean | RedisTls;
  /**
   * The Sentinels to ask for the master. They need {@linkcode RedisOptions.name}. Give all of them: others that they know are not asked,
   * because they would receive the passwords.
   */
  readonly sentinels?: readonly Address[];
  /** The name of the master in the configuration of the Sentinels. */
  readonly name?: string;
  /** The ACL user of the Sentinels. */
  readonly sentinelUsername?: string;
  /** The password of the Sentinels. */
  readonly sentinelPassword?: string;
  /**
   * Whether to use TLS with the Sentinels, or its settings. Default: the value of `tls`, so that no Sentinel is asked without TLS. With
   * `false`, the password goes to whatever server an altered answer of a Sentinel names, if `tls` accepts its certificate.
   */
  readonly sentinelTls?: boolean | RedisTls;
  /** Some nodes of a Redis Cluster, as addresses or URLs. The bus finds the others through them. */
  readonly cluster?: readonly (Address | string)[];
  /**
   * Milliseconds between attempts to reconnect. They double from `min` to `max`, with jitter. The bus never gives up.
   * Default `{ min: 50, max: 2_000 }`.
   */
  readonly retry?: { readonly min?: number; readonly max?: number };
  /**
   * The largest event in bytes. A server disconnects a subscriber when more than its `client-output-buffer-limit pubsub` is pending,
   * so a larger event would reach no subscriber. Raise both together. Default 32 MiB, as in Redis.
   */
  readonly maxEvent?: number;
  /**
   * The worker's module, in a program that is bundled into other files: `new URL("./worker.js", import.meta.url)`, where `worker.ts` imports
   * "@tsmq/tsmq/workers/redis". Default: the module of the package.
   */
  readonly worker?: URL;
}

/** Redis' default hard limit of `client-output-buffer-limit pubsub`, in bytes. */
const MAX_EVENT = 32 * 1024 * 1024;
/** The default port of a Redis server. */
const PORT = 6379;
/** The default milliseconds between attempts to connect: the shortest and the longest. */
const RETRY = { min: 50, max: 2_000 };
const CANNOT = "Cannot create a Redis provider";

const port = whole("a port", 1, 65_535);
const address = fields({ host: text(), port });
const texts = list(text());
const tlsFields = fields({
  ca: v.optional(v.lazy((input) => Array.isArray(input) ? texts : text())),
  cert: v.optional(text()),
  key: v.optional(text()),
  passphrase: v.optional(text()),
  servername: v.optional(text()),
  rejectUnauthorized: v.optional(flag()),
  minVersion: v.optional(v.picklist(["TLSv1.2", "TLSv1.3"], must('"TLSv1.2" or "TLSv1.3"'))),
});
const tls = v.lazy<v.GenericSchema<boolean | RedisTls>>((input) => typeof input === "boolean" ? flag() : tlsFields);
const node = v.lazy<v.GenericSchema<string | Address>>((input) => typeof input === "string" ? text() : address);
const ms = milliseconds(Number.MIN_VALUE, undefined, "milliseconds, above 0");

const OPTIONS = fields({
  url: v.optional(text("is empty; leave it out for redis://127.0.0.1:6379")),
  host: v.optional(text()),
  port: v.optional(port),
  path: v.optional(text()),
  username: v.optional(text()),
  password: v.optional(text()),
  credentials: v.optional(callable<() => RedisCredentials | Promise<RedisCredentials>>()),
  db: v.optional(whole("a whole number of at least 0")),
  tls: v.optional(tls),
  sentinels: v.optional(list(address)),
  name: v.optional(text()),
  sentinelUsername: v.optional(text()),
  sentinelPassword: v.optional(text()),
  sentinelTls: v.optional(tls),
  cluster: v.optional(list(node)),
  retry: v.optional(fields({ min: v.optional(ms, RETRY.min), max: v.optional(ms, RETRY.max) }), {}),
  maxEvent: v.optional(whole("a number of bytes, above 0", 1), MAX_EVENT),
  worker: v.optional(workerUrl()),
});

/** Returns the schema of a list that is not empty. */
function list<T>(item: v.GenericSchema<T>): v.GenericSchema<T[]> {
  return v.pipe(v.array(item, must("a list")), v.nonEmpty("is empty"));
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws {ValidationError} with one issue for each invalid option
 */
export function parseOptions(options: RedisOptions): Settings {
  const checked = parse(OPTIONS, options, CANNOT);
  const issues: Issue[] = [];
  checkTogether(checked, issues);
  const nodes = checked.cluster?.map((node, index) => nodeParts(node, index, issues));
  const url = checked.url === undefined ? {} : parseUrl(checked.url, ["url"], issues);
  if (nodes) checkShared(nodes, checked, issues);
  if (issues.length > 0) throw invalidOptions(issues, CANNOT);
  const first = nodes?.[0] ?? {};
  const { host = "127.0.0.1", port = PORT, db = 0, ...rest } = { ...first, ...url, ...defined(checked) };
  const { min, max } = checked.retry;
  const { credentials } = checked;
  return defined({
    host,
    port,
    db,
    path: rest.path,
    ...credentials
      ? { credentials: async () => checkLogin(await credentials()) }
      : { username: rest.username, password: rest.password },
    tls: tlsOf(rest.tls),
    sentinels: checked.sentinels,
    name: checked.name,
    sentinelUsername: checked.sentinelUsername,
    sentinelPassword: checked.sentinelPassword,
    sentinelTls: checked.sentinels && tlsOf(checked.sentinelTls ?? rest.tls),
    cluster: nodes?.map((node) => ({ host: node.host ?? host, port: node.port ?? PORT })),
    retry: { min, max: Math.max(min, max) },
    maxEvent: checked.maxEvent,
  });
}

/** Checks which options need each other, and which exclude each other. */
function checkTogether(options: RedisOptions, issues: Issue[]): void {
  const wrong = (name: string, message: string) => issues.push({ path: [name], message });
  if (options.sentinels && !options.name) wrong("name", "is missing: Sentinels know masters by their names");
  if (options.name && !options.sentinels) wrong("sentinels", "is missing: only Sentinels know a master by its name");
  if (options.sentinels && options.cluster) wrong("cluster", "cannot be combined with sentinels");
  for (const single of ["url", "host", "port", "path"] as const) {
    if (options[single] === undefined) continue;
    if (options.sentinels) wrong(single, "cannot be combined with sentinels: they have the address");
    if (options.cluster) wrong(single, "cannot be combined with cluster: its nodes have addresses");
  }
  if (options.path && (options.host || options.port)) wrong("path", "cannot be combined with host or port");
  for (const part of ["username", "password"] as const) {
    if (options.credentials && options[part] !== undefined) wrong(part, "cannot be combined with credentials");
  }
  if (options.cluster && options.db) wrong("db", "must be 0: a Redis Cluster has no other");
}

type Parts = Partial<Pick<RedisOptions, "host" | "port" | "path" | "username" | "password" | "db" | "tls">>;

/** Checks that no URL of a node has a login or TLS that would be ignored, because all nodes share those of the options or the first node. */
function checkShared(nodes: readonly Parts[], options: Parts, issues: Issue[]): void {
  nodes.forEach((node, index) => {
    for (const part of ["tls", "username", "password"] as const) {
      if (node[part] === undefined || options[part] !== undefined || node[part] === nodes[0]![part]) continue;
      issues.push({ path: ["cluster", String(index)], message: `must have the ${part} of the first node, or none` });
    }
  });
}

function nodeParts(node: Address | string, index: number, issues: Issue[]): Parts {
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
  // no message quotes the URL: it may contain a password
  if (!URL.canParse(text)) return wrong("is not a URL such as redis://127.0.0.1:6379");
  const url = new URL(text);
  if (url.search || url.hash) return wrong("must have neither ?query nor #fragment: use options instead");
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
  if (!url.host && /^rediss?:(?!\/\/)/i.test(text.trim())) {
    return wrong(`must have two slashes after ${url.protocol}, as in ${url.protocol}//127.0.0.1:6379`);
  }
  const db = rest.replace(/^\//, "");
  if (!/^\d*$/.test(db)) return wrong("must end with the number of a database, or have no path");
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
