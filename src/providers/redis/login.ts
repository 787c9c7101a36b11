/**
 * Logs connections in, and passes secrets to the worker separately from the options, because a printed provider shows its options.
 *
 * @module
 */
import type { ReceiverContext } from "../../provider/provider.ts";
import { ProviderError } from "../../errors.ts";
import { warn } from "../../internal/complain.ts";
import { rememberSecret } from "../../internal/secrets.ts";
import { textOf } from "../../internal/thrown.ts";
import { within } from "../../internal/time.ts";
import { exactly, type ReplyReader } from "./replies.ts";
import type { RedisCredentials, Settings } from "./settings.ts";

/** The options that are posted to the worker, and that a printed provider shows. */
type Posted = Omit<Settings, "password" | "credentials" | "tls" | "sentinelPassword" | "sentinelTls"> & {
  /** Whether the worker asks for the settings with the secrets. */
  readonly asks: boolean;
  /** Whether the worker asks for the login of each connection. */
  readonly asksLogin: boolean;
};

/** Returns the options of the provider: the settings without secrets. */
export function posted(settings: Settings): Posted {
  const { password, credentials, tls, sentinelPassword, sentinelTls, ...rest } = settings;
  const asks = [password, tls, sentinelPassword, sentinelTls].some((secret) => secret !== undefined);
  return { ...rest, asks, asksLogin: credentials !== undefined };
}

/** Answers a question of the worker: for all settings, or for the login of a connection. */
export async function answer(settings: Settings, verb: string): Promise<unknown> {
  return verb === "credentials" ? await settings.credentials?.() : { ...settings, credentials: undefined };
}

/** Returns the settings in the worker. */
export async function received({ options, ask }: ReceiverContext): Promise<Settings> {
  const { asks, asksLogin, ...rest } = options as Posted;
  const settings: Settings = { ...asks ? await ask("settings", undefined) as Settings : rest, quiet: true };
  if (!asksLogin) return settings;
  return { ...settings, credentials: async () => await ask("credentials", undefined) as RedisCredentials };
}

/**
 * Returns the login of a new connection.
 *
 * @throws {ProviderError} "unavailable" when the user's function fails, returns something else, or takes too long
 */
export async function login(settings: Settings, timeout: number): Promise<RedisCredentials> {
  const { credentials, username, password } = settings;
  if (!credentials) return { username, password };
  try {
    const given = await within(timeout, credentials());
    if (!given) throw new TypeError(`it returned nothing within ${timeout} ms`);
    return given;
  } catch (cause) {
    const text = `Cannot log in to Redis: the function "credentials" failed: ${textOf(cause)}`;
    throw new ProviderError("unavailable", text, { cause });
  }
}

/**
 * Checks the result of a user's function `credentials`. Returns it as plain data, which can be posted to the worker.
 *
 * @throws {TypeError} when it is not a login
 */
export function checkLogin(given: unknown): RedisCredentials {
  const { username, password } = Object(given) as Record<string, unknown>;
  if (typeof given !== "object" || given === null || !isText(username) || !isText(password)) {
    throw new TypeError("it returned no { username, password }");
  }
  return { username, password };
}

/**
 * Logs in, before anything else is sent. ioredis does it too, but does not wait for the reply: if the user `default` has no password, a
 * connection with a wrong login would be used as that user.
 */
export async function authenticate(
  call: <T>(read: ReplyReader<T>, name: string, ...args: string[]) => Promise<T>,
  { username, password }: RedisCredentials,
  needless: (error: unknown) => boolean,
): Promise<void> {
  if (username === undefined && password === undefined) return;
  rememberSecret(password);
  try {
    // a user with `nopass` accepts any password
    await call(exactly("OK"), "auth", ...username === undefined ? [] : [username], password ?? "");
  } catch (error) {
    if (!needless(error)) throw error;
  }
}

/** The servers for which this thread has written a warning. */
const warned = new Set<string>();

/**
 * Returns whether a server has refused a password only because it has none itself, so that the connection can be used. The main thread
 * warns, once for each server.
 */
export function isNeedless(error: unknown, server: string, { quiet }: Settings): boolean {
  if (!/without any password|no password is set/.test(textOf(error))) return false;
  if (!quiet && !warned.has(server)) {
    warned.add(server);
    warn(`Redis at ${server} has no password, but one was given: remove it`);
  }
  return true;
}

function isText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}
