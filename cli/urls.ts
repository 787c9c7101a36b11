/**
 * Providers by URL. The client of a transport is loaded only when its URL is used.
 *
 * @module
 */
import process from "node:process";
import { ValidationError } from "../src/errors.ts";
import { warnOnce } from "../src/internal/complain.ts";
import { textOf } from "../src/internal/thrown.ts";
import type { Provider } from "../src/provider/provider.ts";
import type { AwsOptions } from "../src/providers/aws/provider.ts";
import type { IpcOptions } from "../src/providers/ipc/provider.ts";
import type { RedisOptions } from "../src/providers/redis/provider.ts";
import { readSecret } from "./private_file.ts";

/** Loads and creates a provider. */
type Load = () => Promise<Provider>;

/**
 * Returns the provider for a URL:
 *
 * - `memory:`, which is one transport in each process
 * - `redis://user:password@host:6379/0`, `rediss://…` for TLS, `unix:///path/of/socket`;
 *   `redis+sentinel://host:26379,host:26379/mymaster`, `redis+cluster://host:7000,host:7001`,
 *   `rediss+sentinel://…`, `rediss+cluster://…` for TLS with every server
 * - `ipc:`, or `ipc:/directory/in/memory` instead of `/dev/shm`; `ipc:?group=1000` for a namespace that is shared with this group
 * - `aws:`, `aws:eu-central-1`, `aws:us-east-1?endpoint=http://localhost:4566`; credentials come from where the AWS SDK finds them
 * - `env:NAME`, `file:/path`: the URL in this environment variable or file. All users of a machine see the arguments of its commands, so a
 *   URL with a password belongs there
 *
 * @throws {ValidationError} when the URL is none of these; the message does not repeat it, because it may contain a password
 */
export async function providerFor(url: string): Promise<Provider> {
  return await loaderOf(url)();
}

/** Returns the URL that `env:` or `file:` names, or the given one, without its user and password. */
export function shownUrl(url: string): string {
  const [, scheme, name = ""] = /^(env|file):(.*)$/s.exec(url) ?? [];
  const named = scheme === "env" ? process.env[name] ?? "" : scheme === "file" ? content(name) : url;
  return withoutUser(named.trim());
}

/** Returns a text without what may be the user and the password of a URL in it. */
export function withoutUser(text: string): string {
  // a regular expression would search for the end once for each slash
  const [from, to] = [text.indexOf("//"), text.lastIndexOf("@")];
  return from < 0 || to < from + 2 ? text : text.slice(0, from + 2) + text.slice(to + 1);
}

/** Returns whether a text begins like the URL of a transport. */
export function isUrl(text: string): boolean {
  const [, scheme = ""] = /^([a-z][a-z+]*):/.exec(text) ?? [];
  return Object.hasOwn(SCHEMES, scheme);
}

function loaderOf(url: string): Load {
  const [, scheme = "", rest = ""] = /^([a-z][a-z+]*):(.*)$/s.exec(url) ?? [];
  const make = Object.hasOwn(SCHEMES, scheme) ? SCHEMES[scheme] : undefined;
  if (make) return make(rest, url);
  throw unusable(`it must begin with one of ${Object.keys(SCHEMES).map((name) => `${name}:`).join(", ")}`);
}

function unusable(why: string): ValidationError {
  return new ValidationError(`Cannot use a URL: ${why}`);
}

/** The provider of `memory:`. There is one, because equal URLs name the same transport. */
let shared: Promise<Provider> | undefined;

const SCHEMES: Record<string, (rest: string, url: string) => Load> = {
  memory: () => () => shared ??= import("../src/providers/memory/provider.ts").then(({ memory }) => memory()),
  redis: (_, url) => redis({ url }),
  rediss: (_, url) => redis({ url }),
  unix: (_, url) => redis({ url }),
  "redis+sentinel": (rest) => sentinels(rest),
  "rediss+sentinel": (rest) => sentinels(rest, true),
  "redis+cluster": (rest) => cluster(rest),
  "rediss+cluster": (rest) => cluster(rest, true),
  env: (name) => elsewhere(process.env[name], `the environment variable ${name}`),
  file: (path) => elsewhere(content(path), `the file ${path}`),
  ipc: (rest) => {
    // as a path, `//` would be the root of the file system
    if (rest.startsWith("//")) throw unusable("ipc: has no host; give ipc: alone, or a directory as in ipc:/dev/shm");
    const [directory, query] = rest.split("?", 2);
    const { group, ...unknown } = Object.fromEntries(new URLSearchParams(query));
    if (Object.keys(unknown).length > 0 || !/^\d{1,9}$/.test(group ?? "0")) {
      throw unusable("ipc: takes no other parameter than ?group=…, the id of a group");
    }
    return ipc({ directory: directory || undefined, group: group === undefined ? undefined : Number(group) });
  },
  aws: (rest) => {
    const [region, query] = rest.split("?", 2);
    const { endpoint, ...unknown } = Object.fromEntries(new URLSearchParams(query));
    // with a misspelt `endpoint` the command would run on AWS itself
    if (Object.keys(unknown).length > 0) throw unusable("aws: takes no other parameter than ?endpoint=…");
    return aws({ region: region || undefined, endpoint });
  },
};

function sentinels(rest: string, tls?: true): Load {
  const { addresses, path, ...user } = many(rest, 26_379);
  return redis({ sentinels: addresses, name: path, tls, ...user });
}

function cluster(rest: string, tls?: true): Load {
  const { addresses, path, ...user } = many(rest, 6_379);
  if (path && path !== "0") throw unusable("it names a database, and a Redis Cluster has only 0");
  return redis({ cluster: addresses, tls, ...user });
}

/** Returns the loader for a URL that an environment variable or a file contains. */
function elsewhere(url: string | undefined, where: string): Load {
  const text = url?.trim() ?? "";
  if (text === "") throw unusable(`${where} contains no URL`);
  if (/^(env|file):/.test(text)) throw unusable(`${where} must contain the URL itself, not env: or file:`);
  return loaderOf(text);
}

/** Reads a file with a URL. Warns if the URL has a password and others may read or change the file. */
function content(path: string): string {
  try {
    const { text, open } = readSecret(path);
    if (open !== undefined && text.includes("@")) {
      warnOnce(path, `The file ${path} has a URL with a password: ${open}`);
    }
    return text;
  } catch (error) {
    throw unusable(`the file cannot be read: ${textOf(error)}`);
  }
}

function redis(options: RedisOptions): Load {
  return async () => (await import("../src/providers/redis/provider.ts")).redis(options);
}

function aws(options: AwsOptions): Load {
  return async () => (await import("../src/providers/aws/provider.ts")).aws(options);
}

function ipc(options: IpcOptions): Load {
  return async () => (await import("../src/providers/ipc/provider.ts")).ipc(options);
}

/** Matches a host, or an IPv6 address in brackets, and its port. */
const ADDRESS = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/;

/** Parses `//user:password@host:port,host:port/path`, which the class `URL` rejects because it names several hosts. */
function many(rest: string, defaultPort: number) {
  const [, user, password, hosts = "", path] = /^\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/]+)(?:\/(.*))?$/.exec(rest) ?? [];
  // a part of a password that is not encoded; an error must not quote it
  if (/@/.test(hosts + (path ?? ""))) throw unusable('its password must be percent-encoded: "@" is %40, "/" is %2F');
  if (/[?#]/.test(hosts + (path ?? ""))) throw unusable("it takes no parameters after ? or #");
  const addresses = hosts.split(",").map((address) => {
    const found = ADDRESS.exec(address);
    if (!found) throw unusable("each of its hosts must have the form host, host:port or [IPv6]:port");
    const [, host = "", port = defaultPort] = found;
    return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
  });
  return {
    addresses,
    path: path || undefined,
    username: decoded(user),
    password: decoded(password),
  };
}

function decoded(text: string | undefined): string | undefined {
  try {
    return text ? decodeURIComponent(text) : undefined;
  } catch {
    throw unusable("its user or password is not percent-encoded properly");
  }
}
