/**
 * The settings of a Redis bus, which both threads have, and the connection options that are derived from them.
 *
 * @module
 */
import type { RedisOptions as IoRedisOptions } from "ioredis";
import { backoff, spread } from "../../internal/time.ts";

/** Address of a server. */
export interface Address {
  /** Host name or IP address. */
  readonly host: string;
  /** TCP port. */
  readonly port: number;
}

/** TLS settings: those of `node:tls` that are plain data. Certificates and keys are PEM strings. */
export interface RedisTls {
  /** Certificate authorities to trust instead of those of the system. */
  readonly ca?: string | readonly string[];
  /** The client certificate, for a server that requires one. */
  readonly cert?: string;
  /** The private key of {@linkcode RedisTls.cert}. */
  readonly key?: string;
  /** The passphrase of {@linkcode RedisTls.key}. */
  readonly passphrase?: string;
  /** The name that the server's certificate must contain. Default: the host. */
  readonly servername?: string;
  /** False accepts any certificate, for tests only. Default true. */
  readonly rejectUnauthorized?: boolean;
  /** The oldest TLS version to accept. Default: that of the runtime. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

/** The login of a connection. */
export interface RedisCredentials {
  /** The ACL user. Default: `default`, as in Redis. */
  readonly username?: string;
  /** The password of the user. */
  readonly password?: string;
}

/** The checked options, with every default filled in. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  readonly username?: string;
  readonly password?: string;
  /** Returns the login of a new connection, instead of `username` and `password`. */
  readonly credentials?: () => Promise<RedisCredentials>;
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
  /** True in the worker: the main thread warns for both. */
  readonly quiet?: boolean;
}

/** The longest string of Redis in bytes: its default `proto-max-bulk-len`, 512 MB. */
export const MAX_BODY = 512 * 1024 * 1024;

/** Returns the options of ioredis. They have no login, and behind Sentinels no address. */
export function serverOptions(settings: Settings): IoRedisOptions {
  const { path, tls } = settings;
  return { tls: tls as IoRedisOptions["tls"], ...path === undefined ? addresses(settings)[0] : { path } };
}

/** Options of ioredis for a connection whose owner queues commands, reconnects and subscribes again. It sends no command again. */
export const MANAGED: IoRedisOptions = {
  lazyConnect: true,
  disableClientInfo: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  // null also makes ioredis immediately reject the commands of a broken connection
  retryStrategy: () => null,
  enableReadyCheck: false,
};

/** Returns the addresses that a single connection may use: all nodes of a Cluster, or the one server. */
export function addresses(settings: Settings): readonly Address[] {
  return settings.cluster ??
    (settings.path || settings.sentinels ? [] : [{ host: settings.host, port: settings.port }]);
}

/** Returns the address or socket to which a client connects. */
export function addressOf({ options }: { readonly options: IoRedisOptions }): string {
  return options.path ?? `${options.host}:${options.port}`;
}

/** Returns the milliseconds to pause after this number of failed attempts to connect. */
export function retryDelay({ retry }: Settings, failures: number): number {
  return spread(backoff(retry, failures));
}
