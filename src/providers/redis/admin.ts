/**
 * The checks of `tsmq doctor` for a Redis server. They remove everything that they write.
 *
 * @module
 */
import type { Check, Doctor } from "../../provider/admin.ts";
import { textOf } from "../../internal/thrown.ts";
import type { Client } from "./client.ts";
import { ClusterClient } from "./cluster.ts";
import { Connection } from "./connection.ts";
import { checkInfo } from "./admin_info.ts";
import { escapeGlob, Names } from "./names.ts";
import { parseOptions, type RedisOptions } from "./options.ts";
import type { Settings } from "./settings.ts";
import { Queues } from "./queues.ts";
import { Registry, servers } from "./registry.ts";
import { array, count, exactly, info, subscribers, text, texts } from "./replies.ts";
import { ANSWER, run } from "./scripts.ts";

/** Milliseconds for connecting, and for each command. */
const TIMEOUT = 5_000;
/** Milliseconds until the keys of the checks expire, in case the checks are interrupted. */
const LIFE = 10_000;
/** The number of keys that SCAN visits in one step. */
const STEP = 1_000;

/** Creates a doctor for the server of `redis(options)`. */
export function redisDoctor(options: RedisOptions, namespace: string): Doctor {
  return new RedisDoctor(parseOptions(options), namespace);
}

class RedisDoctor implements Doctor {
  #settings: Settings;
  #names: Names;
  #namespace: string;
  #events: Connection;
  #commands: Connection | ClusterClient;
  #opened: Promise<unknown> | undefined;

  constructor(settings: Settings, namespace: string) {
    this.#settings = settings;
    this.#namespace = namespace;
    this.#names = new Names(namespace);
    this.#events = new Connection(settings, TIMEOUT);
    this.#commands = new (settings.cluster ? ClusterClient : Connection)(settings, TIMEOUT);
  }

  async *checks(): AsyncGenerator<Check> {
    const start = performance.now();
    try {
      await this.#open();
    } catch (error) {
      return yield unreachable(error as Error, this.#settings);
    }
    yield { name: "server", state: "ok", detail: `connected in ${Math.round(performance.now() - start)} ms` };
    yield* this.#info();
    yield* this.#leftovers();
    yield* this.#permissions();
  }

  async reap(): Promise<string[]> {
    await this.#open();
    const removed: string[] = [];
    for await (const key of this.#scan(`${escapeGlob(this.#names.servers(""))}*`)) {
      const gone = await this.#commands.call(count, "zremrangebyscore", key, "-inf", String(await this.#now()));
      if (gone > 0) removed.push(`${gone} expired registration(s) of ${key.slice(this.#names.servers("").length)}`);
    }
    return removed;
  }

  async queues(): Promise<string[]> {
    await this.#open();
    const found = new Set<string>();
    for await (const key of this.#scan(`${escapeGlob(this.#names.prefix)}*`)) {
      if (await this.#commands.call(text, "type", key) === "list") found.add(this.#names.topic(key));
    }
    return [...found];
  }

  async close(): Promise<void> {
    await Promise.all([this.#events.close(), this.#commands.close()]);
  }

  #open(): Promise<unknown> {
    return this.#opened ??= Promise.all([this.#events.open(TIMEOUT), this.#commands.open(TIMEOUT)]);
  }

  async *#info(): AsyncGenerator<Check> {
    let fields: Map<string, string>;
    try {
      fields = await this.#events.call(info, "info");
    } catch (error) {
      const mend = grant(this.#settings, "+info");
      const detail = `cannot read the version, nor whether the server is a replica: ${textOf(error)}`;
      return yield { name: "version", state: "risk", detail, mend };
    }
    const limits = await this.#events.call(texts, "config", "get", "client-output-buffer-limit").catch(() => undefined);
    yield* checkInfo(fields, limits?.[1], this.#settings);
  }

  /** Tries every operation of a bus, with names that nothing else uses. */
  async *#permissions(): AsyncGenerator<Check> {
    const scratch = `doctor-${crypto.randomUUID()}`;
    let refused = 0;
    for (const { what, needed, optional, attempt } of probes(this.#names, scratch, this.#settings)) {
      try {
        await attempt(this.#events, this.#commands);
      } catch (error) {
        refused++;
        const { message } = error as Error;
        const mend = grant(this.#settings, ...rulesFor(message, this.#namespace));
        yield { name: `may ${what}`, state: optional ? "risk" : "broken", detail: `${message}; ${needed}`, mend };
      }
    }
    const { list, due, items } = this.#names.queue(scratch);
    await this.#commands.call(count, "unlink", list, due, items).catch(() => {});
    if (refused === 0) yield { name: "permissions", state: "ok", detail: "the user may do everything that a bus does" };
  }

  async *#leftovers(): AsyncGenerator<Check> {
    const name = "leftovers";
    try {
      const now = await this.#now();
      let expired = 0;
      for await (const key of this.#scan(`${escapeGlob(this.#names.servers(""))}*`)) {
        expired += await this.#commands.call(count, "zcount", key, "-inf", String(now));
      }
      if (expired === 0) yield { name, state: "ok", detail: "no registrations of dead servers" };
      else {
        const detail = `${expired} registration(s) of servers that died; callers ignore them`;
        yield {
          name,
          state: "risk",
          detail,
          mend: "tsmq reap removes them; so does the next server of that function",
        };
      }
    } catch (error) {
      // only the doctor needs these commands, a bus does not
      yield { name, state: "ok", detail: `cannot check: ${textOf(error)}` };
    }
  }

  async #now(): Promise<number> {
    const [seconds, micros] = await this.#events.call(texts, "time");
    return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  }

  /** Yields the keys of one server, or of one node of a Cluster. */
  async *#scan(pattern: string): AsyncGenerator<string> {
    let cursor = "0";
    do {
      const reply = await this.#events.call(page, "scan", cursor, "match", pattern, "count", String(STEP));
      yield* reply.keys;
      cursor = reply.next;
    } while (cursor !== "0");
  }
}

interface Probe {
  readonly what: string;
  readonly needed: string;
  readonly optional?: boolean;
  attempt(events: Client, commands: Client): Promise<unknown>;
}

function probes(names: Names, scratch: string, { cluster }: Settings): Probe[] {
  const channel = names.channel(scratch);
  const inbox = names.inbox();
  const answer = names.list(`${scratch}-answer`);
  const all: Probe[] = [
    {
      what: "subscribe",
      needed: "receiving events needs it",
      attempt: (events) => events.call(count, "subscribe", channel),
    },
    {
      what: "subscribe to globs",
      needed: "patterns need it; Redis requires each glob literally in the rules, or '&*'",
      optional: true,
      attempt: (events) => events.call(count, "psubscribe", names.pattern(`${scratch}*`)),
    },
    {
      what: "have an inbox",
      needed: "receiving calls and answers needs it",
      attempt: (events) => events.call(count, "subscribe", inbox),
    },
    {
      what: "publish",
      needed: "publishing events needs it",
      attempt: async (_, commands) => {
        await commands.call(texts, "hkeys", names.bindings);
        await commands.call(count, "publish", channel, "{}");
      },
    },
    {
      what: "have groups",
      needed: "subscribing with a group needs it",
      optional: true,
      attempt: (_, commands) => commands.call(count, "hdel", names.bindings, scratch),
    },
    {
      what: "post to an inbox",
      needed: "sending calls and answers needs it",
      attempt: (_, commands) => commands.call(count, "publish", inbox, "{}"),
    },
    {
      what: "put",
      needed: "queues need it",
      attempt: (_, commands) => commands.call(count, "lpush", names.list(scratch), "1", "2"),
    },
    {
      what: "take, extend, give back and acknowledge",
      needed: "queues need it",
      attempt: (_, commands) => takeAll(new Queues(commands, names, crypto.randomUUID(), () => {}), scratch),
    },
    {
      what: "register as a server",
      needed: "expose and stub need it",
      attempt: async (_, commands) => {
        const registry = new Registry(commands, names, inbox, () => {});
        try {
          await registry.add(scratch);
          await servers(commands, names, scratch, 1);
          await registry.remove(scratch);
        } finally {
          registry.stop();
        }
      },
    },
    {
      what: "answer PyMQ",
      needed: "only callers with PyMQ need it",
      optional: true,
      attempt: async (_, commands) => {
        await run(commands, count, ANSWER, [answer], ["{}", LIFE / 1_000]);
        await commands.call(count, "unlink", answer);
      },
    },
  ];
  return cluster ? all : [...singleServerProbes(channel), ...all];
}

/** Takes an item, and tries every operation of a bus on it. */
async function takeAll(queues: Queues, queue: string): Promise<void> {
  const once = { max: 1, wait: 0, signal: new AbortController().signal };
  try {
    for (const outcome of ["nack", "ack"] as const) {
      const receipts = (await queues.receive(queue, { ...once, lease: LIFE })).map(({ receipt }) => receipt);
      await queues.start(queue, receipts);
      await queues.extend(queue, receipts, LIFE);
      await queues.settle(queue, receipts, outcome, 0);
    }
    await queues.restore(queue, await queues.receive(queue, once));
  } finally {
    queues.stop();
  }
  // only after success: it repeats commands until they succeed, and a server that rejected one may always reject it
  await queues.close();
}

/** Returns the probes for a single server. They come first, because a connection that has subscribed cannot send other commands. */
function singleServerProbes(channel: string): Probe[] {
  return [{
    what: "watch empty queues",
    needed: "without it, they are polled five times a second",
    optional: true,
    attempt: async (events, commands) => {
      const id = await events.call(count, "client", "id");
      await commands.call(exactly("OK"), "client", "tracking", "on", "redirect", String(id));
      await events.call(count, "subscribe", "__redis__:invalidate");
    },
  }, {
    what: "count subscribers",
    needed: "callers need it to detect dead servers",
    attempt: (_, commands) => commands.call(subscribers([channel]), "pubsub", "numsub", channel),
  }];
}

/** Returns the ACL rules that allow what an error message refused. */
function rulesFor(message: string, namespace: string): string[] {
  const command = /'([\w|]+)' command/i.exec(message);
  if (/channel/i.test(message)) return [`'&__eventbus:${namespace}:*'`, "'&__tsmq:*'", "'&__redis__:invalidate'"];
  if (/\bkeys?\b/i.test(message)) return [`'~__eventbus:${namespace}:*'`, "'~__tsmq:*'"];
  return command ? [`+${command[1]!.toLowerCase()}`] : ["<the rules of docs/redis.md>"];
}

function grant({ username = "default" }: Settings, ...rules: string[]): string {
  return `ACL SETUSER ${username} ${rules.join(" ")}   (all that a bus needs: docs/redis.md)`;
}

/** Error message of a failed connection → name of the check, and advice. */
const CONNECTING: readonly (readonly [RegExp, string, string])[] = [
  [/--allow-(\w+)/, "runtime permission", "run Deno with this permission"],
  [/WRONGPASS|invalid password/i, "login", "the user or the password is wrong: see ACL LIST on the server"],
  [/NOAUTH/, "login", "the server requires a password: redis://user:password@host, percent-encoded"],
  [
    /max number of clients/i,
    "clients",
    "raise maxclients of the server, or find the clients with many connections: CLIENT LIST",
  ],
  [/DENIED|protected mode/, "login", "protected mode: set a password, or bind the server to an address"],
  [/LOADING/, "server", "the server loads its data from disk: wait"],
  [/MASTERDOWN/, "server", "the server is a replica that cannot reach its master: connect to the master"],
  [
    /ENOTFOUND|EAI_AGAIN|name resolution|getaddrinfo/i,
    "address",
    "the host name cannot be resolved: check the name and DNS",
  ],
  [/ENOENT/, "address", "the socket does not exist: see `unixsocket` in redis.conf"],
  [
    /EACCES|EPERM/,
    "address",
    "the socket does not allow this user: see `unixsocketperm` in redis.conf, or join the group of its owner",
  ],
  [/ECONNREFUSED/, "server", "no server listens there: start redis-server, or correct host and port"],
  [
    /certificate|CERT_|SSL|TLS|handshake|UNABLE_TO/i,
    "TLS",
    "rediss:// needs a certificate that this machine trusts (option `tls.ca`)",
  ],
  [/All sentinels|sentinel/i, "sentinels", "no Sentinel answers, or none knows that master: see SENTINEL MASTERS"],
  [/Failed to refresh slots/i, "cluster", "no node answers as part of a Cluster: see CLUSTER INFO"],
  [
    /ETIMEDOUT|no answer|no reply|timed? ?out/i,
    "server",
    "the server does not answer: it is frozen, busy, or behind a firewall",
  ],
  [
    /ECONNRESET|closed|EPIPE|isn't writeable/,
    "server",
    "the server closes the connection: check maxclients, TLS (rediss://), and whether it is a Redis server",
  ],
];

function unreachable(error: Error, { tls }: Settings): Check {
  const known = CONNECTING.find(([pattern]) => pattern.test(error.message));
  const [, name, mend] = known ?? [undefined, "server", "see the message"];
  const plain = tls && /ECONNRESET|closed|EOF/.test(error.message) ? "; or the server does not use TLS: redis://" : "";
  return { name, state: "broken", detail: error.message, mend: mend + plain };
}

/** Reads the reply to SCAN. */
function page(reply: unknown): { next: string; keys: string[] } {
  const [next, keys] = array(reply, 2);
  return { next: text(next), keys: texts(keys) };
}
