import { buildCommand } from "@stricli/core";
import process from "node:process";
import { Bus } from "../../mod.ts";
import type { Admin, Check } from "../../src/provider/admin.ts";
import { BusError, lacksPermission } from "../../src/errors.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { cut } from "../../src/internal/printable.ts";
import { isA, textOf } from "../../src/internal/thrown.ts";
import { print, whileRead } from "../io.ts";
import { BUS_FLAGS, type BusFlags, ONCE, URL_ARGUMENT } from "../session.ts";
import { providerFor } from "../urls.ts";

interface Flags extends BusFlags {
  readonly json: boolean;
}

/** Runs the checks of the transport, then a round trip over a bus. */
async function* checks(url: string, namespace: string): AsyncGenerator<Check> {
  let [provider, admin, broken]: [Provider?, Admin?, boolean?] = [];
  try {
    // a client may need a permission when it is imported
    provider = await providerFor(url);
    admin = await provider.admin?.open(namespace);
    for await (const check of admin?.checks() ?? []) {
      broken ||= check.state === "broken";
      yield check;
    }
  } catch (error) {
    if (!lacksPermission(error)) throw error;
    const mend = "run Deno with the permission that the message names";
    return yield { name: "runtime permission", state: "broken", detail: textOf(error), mend };
  } finally {
    await admin?.close();
  }
  if (broken) return;
  yield* contents(provider, namespace);
  yield await roundTrip(provider);
}

/** Reports a namespace that the user has named, if nothing is in it. */
async function* contents({ admin: opener }: Provider, namespace: string): AsyncGenerator<Check> {
  if (!opener || namespace === "global") return;
  const admin = await opener.open(namespace); // a connection of the other one may have subscribed, for its checks
  // a user that may not list them can use the namespace
  const lists = await Promise.all([admin.buses(), admin.queues(), admin.functions()]).catch(() => [])
    .finally(() => admin.close());
  if (lists.length === 0 || lists.some((list) => list === undefined || list.length > 0)) return;
  const detail = `no bus is up in "${namespace}", and it has no queue and no function`;
  yield { name: "namespace", state: "risk", detail, mend: "compare it with the namespace of your buses (--namespace)" };
}

/** Sends an event, an item and a call over a bus in a namespace of its own. It has a key of its own, so no peer can forge or read them. */
async function roundTrip(provider: Provider): Promise<Check> {
  const name = "bus";
  const start = performance.now();
  try {
    await using bus = await Bus.open(provider, {
      namespace: `doctor-${crypto.randomUUID()}`,
      timeout: 10_000,
      keys: [{ id: "doctor", secret: crypto.getRandomValues(new Uint8Array(32)) }],
      encrypt: true,
      ...ONCE,
    });
    const opened = performance.now();
    const queue = bus.queue("doctor");
    try {
      const heard = Promise.withResolvers<void>();
      await bus.subscribe("doctor", () => heard.resolve()).ready;
      await bus.publish("hello", "doctor");
      await queue.put(1);
      await queue.get({ timeout: 10_000 });
      await bus.expose("doctor.echo", (value: unknown) => value);
      await bus.stub("doctor.echo")(1);
      await within(heard.promise, 10_000);
    } finally {
      await queue.free();
    }
    const [opening, work] = [opened - start, performance.now() - opened].map(Math.round);
    return { name, state: "ok", detail: `opened in ${opening} ms; an event, an item and a call took ${work} ms` };
  } catch (error) {
    const detail = textOf(error);
    if (isA(error, BusError) && error.code === "denied") {
      const mend =
        "nothing, if this user is limited to its namespace: this check uses another one, those above did not";
      return { name, state: "risk", detail, mend };
    }
    return { name, state: "broken", detail, mend: "the checks above passed, so this may be a bug in tsmq" };
  }
}

async function within(promise: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`a published event did not arrive within ${ms} ms`)), ms);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const MARKS: Record<Check["state"], string> = { ok: "ok    ", risk: "RISK  ", broken: "BROKEN" };

function format({ name, state, detail, mend }: Check): string[] {
  return [`${MARKS[state]} ${name}: ${detail}`, ...mend ? [`       → ${mend}`] : []];
}

/** The command `tsmq doctor`. */
export const command = buildCommand({
  func: ({ namespace, json }: Flags, url: string) =>
    whileRead(async () => {
      for await (const check of checks(url, namespace)) {
        if (check.state === "broken") process.exitCode = 1;
        const { detail, mend } = check; // they may contain texts from the wire
        const short = { ...check, detail: cut(detail), mend: mend && cut(mend) };
        for (const line of json ? [JSON.stringify(short)] : format(short)) await print(line);
      }
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      json: {
        kind: "boolean",
        brief: "Print one JSON object a line, for programs",
        default: false,
        withNegated: false,
      },
    },
    aliases: { n: "namespace" },
    positional: { kind: "tuple", parameters: [URL_ARGUMENT] },
  },
  docs: {
    brief: "Find problems of a transport, and explain how to solve them",
    fullDescription: [
      "Checks whether the transport is reachable, accepts the credentials, has a supported version, permits everything that",
      "a bus does, and has room, and lists the remains of dead buses. Then a bus sends an event, an item and a call to itself.",
      "The doctor writes only under its own names, and removes everything that it has written.",
      "RISK: it works, but something may be lost. BROKEN: it does not work; the exit code is 1.",
    ].join("\n"),
    customUsage: [
      "<url> [flags]",
      { input: "redis://localhost", brief: "is the server fit for a bus?" },
      { input: `aws:eu-central-1 --json | jq 'select(.state != "ok")'`, brief: "only the problems" },
    ],
  },
});
