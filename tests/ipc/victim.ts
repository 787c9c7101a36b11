/**
 * A user whose namespace another one attacks: does everything that a bus does with files, again and again, and stands still once
 * before each system call in turn until `attacker.ts` has acted. Prints what came of it. Its arguments: the pipes, its home, the
 * attack, and the group that both share, if any.
 */
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import process from "node:process";
import { BusError } from "../../src/errors.ts";
import type { Delivery } from "../../src/provider/provider.ts";
import { ItemBatch } from "../../src/providers/ipc/item_batch.ts";
import { removeBus } from "../../src/providers/ipc/cleanup.ts";
import { CrashSlot } from "../../src/providers/ipc/crash_slot.ts";
import { readItem, writeItem } from "../../src/providers/ipc/frames.ts";
import { bodyDirectory, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { Moves } from "../../src/providers/ipc/moves.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Refill } from "../../src/providers/ipc/refill.ts";
import { ALL, runsHere } from "../support/share.ts";

const [commands, answers, home, attack, group] = process.argv.slice(2) as [string, string, string, string, string?];
const provider = ipc({ group: group === undefined ? undefined : Number(group) });
const settings = provider.options as Settings;
const [to, from] = [openSync(commands, "r+"), openSync(answers, "r+")];
const buffer = new Uint8Array(100);
const LARGE = "large".repeat(100);
/** The first call at which the attacker acts, and the distance of the next one: the calls are the same on both runtimes, so each has half. In a run of all files, those of Bun. */
const [FIRST, STEP] = [runsHere(0) ? 2 : 3, ALL ? 1 : 2];

function ask(command: string, namespace: string): boolean {
  writeSync(to, new TextEncoder().encode(`${command} ${namespace}\n`));
  return new TextDecoder().decode(buffer.subarray(0, readSync(from, buffer))) === "true\n";
}

// each method that makes system calls on files stands still first
const posix = await loadPosix() as unknown as Record<string, (...args: unknown[]) => unknown>;
let calls = 0;
let before = (_call: number) => {};
const FILES =
  /^(open(File|Directory)|createFile|stat|list|(make|remove)Directory|unlink|rename|symlink|readLinkBytes|share|touch|set\w+)$/;
for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(Object.getPrototypeOf(posix)))) {
  if (!FILES.test(name)) continue;
  const real = posix[name]!;
  posix[name] = (...args) => {
    before(++calls);
    return real.apply(posix, args);
  };
}

/** Uses every operation of a bus. Resolves with the texts of the received items. */
async function live(name: string): Promise<string[]> {
  const namespace = await Namespace.open(settings, name, () => {});
  const { bodyFiles, delayed, directories, names, overflow, processes, queues, subscriptions } = namespace;
  const bus = names.newBus(processes.self, 0);
  const leases = new Leases(namespace, bus);
  const [queue, held] = [names.queue("queue"), `${queueDirectory(names.queue("queue"))}/held`];
  const received: string[] = [];
  const read = (receipt: string) => {
    const { text } = readItem(bodyFiles.readItem(held, receipt));
    received.push(text);
    return text;
  };
  const sender = await provider.open(
    {
      ...{ namespace: name, options: settings, connectTimeout: 5_000, sendTimeout: 5_000 },
      ...{ ask: () => Promise.reject(new Error("nobody answers")) },
    } as unknown as Parameters<typeof provider.open>[0],
  );
  try {
    directories.within("loops", () => directories.make(namespace.busDirectory(bus)));
    subscriptions.subscribe("a/topic", bus);
    subscriptions.patterns.subscribe("a*", bus, namespace.busDirectory(bus));
    subscriptions.patterns.bind({ topic: "a/topic", pattern: false }, "a/topic@group", namespace.busDirectory(bus));
    subscriptions.register("function", bus);
    subscriptions.route("a/topic");
    subscriptions.servers("function");
    leases.restore(queue, leases.key(), writeItem("mine", false), 0);
    const large = bodyFiles.write(bodyDirectory(queue), LARGE, true);
    if (bodyFiles.read(bodyDirectory(queue), large) !== LARGE) throw new Error("another body");
    const batch = new ItemBatch<Delivery>(10);
    leases.take(queue, batch, 60_000, read);
    for (const { receipt } of batch.items) {
      leases.start(queue, receipt);
      leases.giveBack(queue, [receipt], 1, true);
    }
    leases.hold(queue, leases.key(), writeItem("mine", false), 0, 60_000);
    const { descriptor, size } = queues.use(queue, [{ messages: 2, size: 128 }])!;
    const item = writeItem("mine", false);
    namespace.posix.send(descriptor, item, item.length);
    const crashSlot = new CrashSlot(namespace, bus);
    crashSlot.receive(queue, leases.key(), descriptor, size);
    crashSlot.close();
    delayed.put(queue, 0.001, writeItem("mine", false));
    overflow.put(queue, leases.key(), writeItem("mine", false));
    let fault: unknown;
    const refill = new Refill(namespace, new Moves(namespace, bus), () => leases.key(), (error) => fault = error);
    refill.run();
    if (fault) throw fault;
    const buffer = new Uint8Array(size);
    for (let length; (length = namespace.posix.receive(descriptor, buffer)) >= 0;) {
      received.push(readItem(buffer.slice(0, length)).text);
    }
    subscriptions.patterns.unbind({ topic: "a/topic", pattern: false }, "a/topic@group");
    subscriptions.unsubscribe("a/topic", bus);
    removeBus(namespace, bus);
    await sender.drop("queue");
  } finally {
    namespace.posix.unlinkQueue(queue);
    await sender.close();
    namespace.queues.close();
  }
  return received;
}

/** Makes the directories of a topic as PyMQ does, with another umask for the namespace than for those in it: these are open to everybody. */
function open(name: string): void {
  for (const path of ["", "/subscribers", "/subscribers/a", "/subscribers/a/topic"]) {
    mkdirSync(`/dev/shm/${name}${path}`);
    chmodSync(`/dev/shm/${name}${path}`, path === "" ? 0o755 : 0o777);
  }
}

/** Makes the home as it was. Returns its state. */
function furnish(): string[] {
  for (const name of readdirSync(home)) rmSync(`${home}/${name}`, { recursive: true });
  for (const each of [home, `${home}/held`, `${home}/back`, `${home}/bodies`]) {
    mkdirSync(each, { recursive: true });
    chmodSync(each, 0o700);
    writeFileSync(`${each}/precious`, "mine");
  }
  return state();
}

/** Everything in the home, with its mode, its time and its group. */
function state(path = home): string[] {
  const { gid, mode, mtimeMs } = lstatSync(path);
  const directory = (mode & 0o170000) === 0o040000;
  const inside = directory ? readdirSync(path).sort().flatMap((name) => state(`${path}/${name}`)) : [];
  const group = gid === process.getgid!() ? "" : gid;
  return [`${path.slice(home.length)} ${mode.toString(8)} ${mtimeMs} ${group}`.trim(), ...inside];
}

const found = new Set<string>();
const endings = new Map<string, number>();
let intact = furnish();

/** Lives once while the attacker acts before these calls; false if there were fewer. */
async function trial(name: string, moments: Record<number, string>): Promise<{ ended: boolean; answers: boolean[] }> {
  calls = 0;
  const answers: boolean[] = [];
  before = (call) => {
    const command = moments[call];
    if (command !== undefined) answers.push(ask(command, name));
  };
  let ending = "lived";
  if (attack === "invade") open(name);
  try {
    for (const text of await live(name)) if (text !== "mine") found.add(`received "${text}"`);
  } catch (error) {
    ending = error instanceof BusError ? error.code : `untyped: ${error instanceof Error ? error.stack : error}`;
  }
  before = () => {};
  if (ending.startsWith("untyped")) found.add(ending);
  endings.set(ending, (endings.get(ending) ?? 0) + 1);
  const now = state();
  if (String(now) !== String(intact)) {
    const differ = [...now.filter((each) => !intact.includes(each)), ...intact.filter((each) => !now.includes(each))];
    found.add(`${Object.entries(moments).map(([call, what]) => `${what} at ${call}`).join()}: ${differ.join()}`);
    intact = furnish();
  }
  for (let i = 0; i < 2; i++) {
    ask("clear", name); // each can remove only its own
    try {
      rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
    } catch {
      // in a directory of the attacker
    }
  }
  return { ended: calls < Math.max(...Object.keys(moments).map(Number)), answers };
}

let trials = 0;
const fresh = () => `ipc-${process.pid}-${trials++}`;
for (let call = FIRST;; call += STEP) {
  if (group !== undefined || attack === "invade") {
    if ((await trial(fresh(), { [call - 1]: "seed", [call]: attack })).ended) break;
    continue;
  }
  const { ended, answers } = await trial(fresh(), { [call]: "plant" });
  if (ended) break;
  if (attack === "plant" || answers[0] !== true) continue;
  for (let later = call + 2;; later++) {
    if ((await trial(fresh(), { [call]: "plant", [later - 1]: "seed", [later]: attack })).ended) break;
  }
}
console.log(JSON.stringify({ found: [...found], trials, endings: Object.fromEntries(endings) }));
