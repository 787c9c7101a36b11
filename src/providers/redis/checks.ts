/**
 * The checks of `tsmq doctor` for a Redis server. They remove everything that they write.
 *
 * @module
 */
import type { Check } from "../../provider/admin.ts";
import { BusError } from "../../errors.ts";
import { isA, textOf } from "../../internal/thrown.ts";
import { ANSWER } from "./answers.ts";
import { readUsable } from "./bindings.ts";
import type { Client } from "./client.ts";
import type { ClusterClient } from "./cluster.ts";
import type { Connection } from "./connection.ts";
import { checkInfo } from "./checks_info.ts";
import { LONGEST } from "./lua.ts";
import { escapeGlob, type Names } from "./names.ts";
import type { Settings } from "./settings.ts";
import { Queues } from "./queues.ts";
import { Registry, servers } from "./registry.ts";
import { count, exactly, info, page, pairs, subscribers, texts } from "./replies.ts";
import { run } from "./scripts.ts";

/** Milliseconds until the keys of the checks expire, in case the checks are interrupted. */
const LIFE = 10_000;

/** The connections of the checks. */
export interface CheckedServer {
  readonly settings: Settings;
  readonly namespace: string;
  readonly names: Names;
  /** The connection for events. It subscribes after all other checks. */
  readonly events: Connection;
  readonly commands: Connection | ClusterClient;
  /** Connects. */
  open(): Promise<unknown>;
  /** Lists the remains of dead buses. */
  leftovers(): Promise<readonly string[]>;
}

/** Runs the checks of `tsmq doctor` for a Redis server. */
export async function* checkServer(server: CheckedServer): AsyncGenerator<Check> {
  const start = performance.now();
  try {
    await server.open();
  } catch (error) {
    return yield unreachable(error as Error, server.settings);
  }
  yield { name: "server", state: "ok", detail: `connected in ${Math.round(performance.now() - start)} ms` };
  yield* checkVersion(server);
  yield await checkLeftovers(server);
  yield* checkPermissions(server);
}

async function* checkVersion({ events, settings }: CheckedServer): AsyncGenerator<Check> {
  let fields: Map<string, string>;
  try {
    fields = await events.call(info, "info");
  } catch (error) {
    const mend = grant(settings, "+info");
    const detail = `cannot read the version, nor whether the server is a replica: ${textOf(error)}`;
    return yield { name: "version", state: "risk", detail, mend };
  }
  const limits = await events.call(texts, "config", "get", "client-output-buffer-limit").catch(() => undefined);
  yield* checkInfo(fields, limits?.[1], settings);
}

/** Tries every operation of a bus, with names that nothing else uses. */
async function* checkPermissions(server: CheckedServer): AsyncGenerator<Check> {
  const { settings, namespace, names, events, commands } = server;
  const scratch = `doctor-${crypto.randomUUID()}`;
  let refused = 0;
  for (const { what, needed, optional, attempt } of probes(names, scratch, settings)) {
    try {
      await attempt(events, commands);
    } catch (error) {
      refused++;
      const { message } = error as Error;
      // an ACL changes nothing when the server is out of memory, or cannot write to its disk
      const mend = isA(error, BusError) && error.code === "denied"
        ? grant(settings, ...rulesFor(message, namespace))
        : "not a permission: see the message, and the checks above";
      yield { name: `may ${what}`, state: optional ? "risk" : "broken", detail: `${message}; ${needed}`, mend };
    }
  }
  const { list, due, items } = names.queue(scratch);
  await commands.call(count, "unlink", list, due, items).catch(() => {});
  if (refused === 0) {
    yield { name: "permissions", state: "ok", detail: "the user has every permission that a bus needs" };
  }
}

async function checkLeftovers(server: CheckedServer): Promise<Check> {
  const name = "leftovers";
  try {
    const found = await server.leftovers();
    if (found.length === 0) return { name, state: "ok", detail: "no registrations of dead servers" };
    const detail = `${found.slice(0, 3).join(", ")}${found.length > 3 ? ", …" : ""}; callers ignore them`;
    return { name, state: "risk", detail, mend: "tsmq reap removes them; so does the next server of that function" };
  } catch (error) {
    // only the doctor needs these commands, a bus does not
    return { name, state: "ok", detail: `cannot check: ${textOf(error)}` };
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
        // it is used only while there are bindings
        await commands.call(page(pairs), "hscan", names.bindings + scratch, "0");
        const bindings = await readUsable(commands, names);
        if (bindings instanceof Error) throw bindings;
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
      attempt: (_, commands) => takeAll(new Queues(commands, names, crypto.randomUUID(), LONGEST, () => {}), scratch),
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
  // called only after success, because it repeats commands until they succeed, and a server that rejected a command may always reject it
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

/** Returns the ACL rules that allow what an error message refused, in this namespace only. They are those of docs/redis.md. */
function rulesFor(message: string, namespace: string): string[] {
  const command = /'([\w|]+)' command/i.exec(message);
  const own = `__eventbus:${escapeGlob(namespace).replaceAll("'", "\\'")}:*'`; // quoted for redis-cli
  if (/channel/i.test(message)) return [`'&${own}`, `'&__tsmq:inbox:${own}`, "'&__redis__:invalidate'"];
  if (/\bkeys?\b/i.test(message)) {
    return [`'~${own}`, `'~__tsmq:{${own}`, `'~__tsmq:servers:${own}`, `'~__tsmq:bindings:${own}`];
  }
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
  [/not a reply of Redis/, "server", "another program listens there: correct host and port"],
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
  const plain = tls && /ECONNRESET|closed|EOF|no reply/.test(error.message)
    ? "; or the server does not use TLS: redis://"
    : "";
  return { name, state: "broken", detail: error.message, mend: mend + plain };
}
