/** Shared parts of the IPC tests: a hand-made bus, the files and queues that remain of a namespace, and programs that run as another user. */
import { assert, assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { CrashSlot } from "../../src/providers/ipc/crash_slot.ts";
import { removeBus } from "../../src/providers/ipc/cleanup.ts";
import { nameOfItem, queueDirectory } from "../../src/providers/ipc/items.ts";
import { Leases } from "../../src/providers/ipc/leases.ts";
import { EVENTS, INBOX } from "../../src/providers/ipc/mqueues.ts";
import { eventsOf, inboxOf, Names } from "../../src/providers/ipc/names.ts";
import { loadPosix, type Posix } from "../../src/providers/ipc/posix.ts";
import { ipc, type IpcOptions } from "../../src/providers/ipc/provider.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";
import { Child, makeDir, removeDir } from "../support/child.ts";
import { here, Peer } from "../support/peer.ts";
import { homeOf, runtimeForAll } from "./homes.ts";

/** A new namespace. */
export function fresh(): string {
  return `ipc-${crypto.randomUUID().slice(0, 8)}`;
}

/** Opens the files and queues of a namespace, without a bus. */
export function openNamespace(name: string, options?: IpcOptions): Promise<Namespace> {
  return Namespace.open(ipc(options).options as Settings, name, () => {});
}

/** The buses of a namespace. */
export async function busesOf(namespace: string): Promise<string[]> {
  const listed = (await loadPosix()).list(`/dev/shm/${namespace}/loops`);
  return typeof listed === "number" ? [] : listed;
}

/** A bus of this process without halves. The test performs its operations. */
export class HandmadeBus implements Disposable {
  readonly busName: string;

  private constructor(readonly internals: Namespace) {
    const { names, directories, processes } = internals;
    this.busName = names.newBus(processes.self, 0);
    directories.within("loops", () => directories.make(internals.busDirectory(this.busName)));
  }

  /** Creates the directory of the bus, without queues. */
  static async open(namespace: string, directory?: string): Promise<HandmadeBus> {
    return new HandmadeBus(await openNamespace(namespace, { directory }));
  }

  #path(busName: string): string {
    return this.internals.directories.path(this.internals.busDirectory(busName));
  }

  /** Takes an item out of a queue into the crash slot, without a lease; returns its text. */
  take(queue: string): string {
    const { names, queues } = this.internals;
    const name = names.queue(queue);
    const { descriptor, size } = queues.use(name)!;
    const crashSlot = new CrashSlot(this.internals, this.busName);
    const { message } = crashSlot.receive(name, new Leases(this.internals, this.busName).key(), descriptor, size);
    crashSlot.close();
    return new TextDecoder().decode(message);
  }

  /** Holds an item without setting the end of its lease. The returned function sets it. */
  hold(queue: string, message: Uint8Array): (lease: number) => void {
    const leases = new Leases(this.internals, this.busName);
    const name = this.internals.names.queue(queue);
    const receipt = nameOfItem({ key: leases.key(), starts: 1, lease: 0, unconfirmed: false, bus: this.busName });
    this.internals.bodyFiles.writeFile(`${queueDirectory(name)}/held`, receipt, message, true);
    return (lease) => void assert(leases.extend(name, receipt, lease));
  }

  /** Creates the queues of a bus, which nothing reads. */
  createQueues(): void {
    const { queues } = this.internals;
    queues.create(eventsOf(this.busName), EVENTS);
    queues.create(inboxOf(this.busName), INBOX);
  }

  /** Turns it into a bus whose process has ended. Returns the new name. */
  die(): string {
    const { names, posix, processes } = this.internals;
    // no process has that start time
    const dead = names.newBus({ ...processes.self, start: 1 }, 0);
    assertEquals(posix.rename(this.#path(this.busName), this.#path(dead)), 0);
    return dead;
  }

  /** Removes everything it has created. */
  remove(): void {
    removeBus(this.internals, this.busName);
  }

  [Symbol.dispose](): void {
    this.remove();
    this.internals.queues.close();
  }
}

/**
 * Returns the number of calls of these methods while `act` runs. The state of an open directory, which a bus of a group reads for each
 * directory of a path, does not count: the call for that path does.
 */
export function calls(posix: Posix, names: readonly (keyof Posix)[], act: () => void): number {
  const methods = posix as unknown as Record<string, (...args: unknown[]) => unknown>;
  let count = 0;
  for (const name of names) {
    const real = methods[name]!;
    methods[name] = (...args) => {
      if (name !== "stat" || typeof args[0] !== "number") count++;
      return real.apply(posix, args);
    };
  }
  try {
    act();
  } finally {
    for (const name of names) delete methods[name];
  }
  return count;
}

/** A kernel queue, read and written as PyMQ does. */
export class KernelQueue implements Disposable {
  readonly #buffer = new Uint8Array(8_192);
  readonly #descriptor: number;

  private constructor(readonly posix: Posix, descriptor: number) {
    this.#descriptor = descriptor;
  }

  static open(namespace: string, queue: string): Promise<KernelQueue> {
    return KernelQueue.named(new Names(namespace).queue(queue));
  }

  static async named(name: string): Promise<KernelQueue> {
    const posix = await loadPosix();
    const descriptor = posix.openQueue(name);
    assert(descriptor >= 0, `errno ${-descriptor}`);
    return new KernelQueue(posix, descriptor);
  }

  get(): string | undefined {
    const length = this.posix.receive(this.#descriptor, this.#buffer);
    return length < 0 ? undefined : new TextDecoder().decode(this.#buffer.subarray(0, length));
  }

  put(text: string): number {
    const message = new TextEncoder().encode(text);
    return this.posix.send(this.#descriptor, message, message.length);
  }

  get size(): number {
    return this.posix.attributes(this.#descriptor)!.current;
  }

  [Symbol.dispose](): void {
    this.posix.close(this.#descriptor);
  }
}

/** Returns the remaining files of a namespace, and the remaining queues of these buses and names. */
export async function left(
  namespace: string,
  buses: readonly string[],
  queues: readonly string[] = [],
): Promise<string[]> {
  const posix = await loadPosix();
  const names = new Names(namespace);
  const candidates = [
    ...buses.flatMap((busName) => [`/${busName}`, `/${busName}.inbox`]),
    ...queues.map((name) => names.queue(name)),
  ];
  const open = candidates.filter((name) => {
    const descriptor = posix.openQueue(name);
    if (descriptor >= 0) posix.close(descriptor);
    return descriptor >= 0;
  });
  const files = posix.list(`/dev/shm/${namespace}`);
  return [...open, ...(typeof files === "number" ? [] : [`/dev/shm/${namespace}`, ...files])];
}

/** Returns a text of this length in which no eight characters repeat. */
export function text(length: number): string {
  return Array.from({ length: Math.ceil(length / 8) }, (_, i) => String(i).padStart(8)).join("").slice(0, length);
}

/** Returns the length of a text of {@linkcode text}, or -1 if it was changed. */
export function whole(received: string): number {
  return received === text(received.length) ? received.length : -1;
}

/** Returns the reason why another user cannot run this file here, or undefined if that is possible. */
export function noOtherUser(file: URL): string | undefined {
  try {
    execute([...become(40_000), "test", "-r", fileURLToPath(file)]);
  } catch {
    return "nobody here can become another user who can read these files";
  }
}

/** The condition for `mount` and `unshare`: they require user 0, not its capabilities, which a test run may keep as another user. */
const ROOT = ["setpriv", "--reuid=0"];

/** A user, with the group of the same id or another one. */
type User = number | { readonly user: number; readonly group: number };

/** Returns the start of a command that runs as this user, without capabilities. */
export function become(who: User): string[] {
  const { user, group } = typeof who === "number" ? { user: who, group: who } : who;
  return ["setpriv", `--reuid=${user}`, `--regid=${group}`, "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"];
}

/** Runs a file as another user. Resolves with its output and exit code. */
export function runAs(user: User, file: URL, ...args: string[]): Promise<Ran> {
  return run([], user, file, args);
}

/** Starts a file as another user, as a peer. */
export function startAs<Said>(user: User, file: URL, ...args: string[]): Peer<Said> {
  return Peer.of<Said>(start([], user, file, args));
}

/** Limits for the queues of one IPC namespace. */
export type KernelLimits = Partial<Record<"queues_max" | "msg_max" | "msgsize_max", number>>;

/** Returns the reason why this machine does not allow an IPC namespace with its own limits, or undefined if it does. */
export function noKernelLimits(): string | undefined {
  try {
    execute([...within({ queues_max: 8 }), "true"]);
  } catch {
    return "nobody here can have an IPC namespace of its own and set its limits";
  }
}

/** Whether CAP_SYS_RESOURCE exempts root from the limits of the kernel. */
export function rootIsExempt(): boolean {
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(execute([...ROOT, "cat", "/proc/self/status"]))![1]!;
  return (BigInt(`0x${capabilities}`) >> 24n) % 2n === 1n;
}

/** Does the same as {@linkcode runAs}, in an IPC namespace with these limits. */
export function runWithin(limits: KernelLimits, user: number, file: URL, ...args: string[]): Promise<Ran> {
  return run(within(limits), user, file, args);
}

/** Does the same as {@linkcode runAs}, with the processes of other users hidden. */
export function runBlind(user: number, file: URL, ...args: string[]): Promise<Ran> {
  return run(BLIND, user, file, args);
}

/** Returns the reason why processes cannot be hidden here, or undefined if they can. */
export function notBlindable(): string | undefined {
  try {
    execute([...BLIND, "true"]);
  } catch {
    return "nobody here can mount a /proc that hides others' processes";
  }
}

const BLIND = [...ROOT, "unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"];

function within(limits: KernelLimits): string[] {
  const set = Object.entries(limits).map(([name, value]) => `echo ${value} > /proc/sys/fs/mqueue/${name} && `);
  return [...ROOT, "unshare", "--ipc", "sh", "-c", `${set.join("")}exec "$@"`, "sh"];
}

/** Runs a command to its end; returns its output. */
function execute([program, ...args]: string[]): string {
  return execFileSync(program!, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

/** Limits this process to few descriptors, so that using them up is quick. */
export function fewDescriptors(): void {
  execFileSync("prlimit", [`--pid=${process.pid}`, "--nofile=256"]);
}

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

/** Limits each heap of Deno in megabytes. Without a limit, garbage grows to several times the size of the live objects. */
const HEAP = "--max-old-space-size=128";

async function run(before: readonly string[], user: User, file: URL, args: readonly string[]): Promise<Ran> {
  const child = start(before, user, file, args);
  const { code } = await child.wait(170_000);
  return { code, output: child.output };
}

function start(before: readonly string[], user: User, file: URL, args: readonly string[]): Child {
  const flags = here === "deno" ? ["run", "-A", "--no-check", "--no-lock"] : ["run"];
  const home = homeOf(typeof user === "number" ? user : user.user);
  // in Deno, memory that grows with a queue ends the process
  const env = { ...process.env, HOME: home, DENO_DIR: `${home}/deno`, XDG_CACHE_HOME: home, DENO_V8_FLAGS: HEAP };
  const command = [...before, ...become(user), runtimeForAll(), ...flags, fileURLToPath(file), ...args];
  return new Child(command[0]!, command.slice(1), { env });
}

/** Returns the reason why a small directory in memory cannot be mounted here, or undefined if it can. */
export function notMountable(): string | undefined {
  try {
    new SmallDirectory().remove();
  } catch {
    return "nobody here can mount a small directory in memory";
  }
}

/** A small directory in memory, which can be filled. */
export class SmallDirectory implements Disposable {
  readonly path = makeDir("small");
  readonly #ballast = `${this.path}/ballast`;

  constructor(options = "size=256k") {
    try {
      execute([...ROOT, "mount", "-t", "tmpfs", "-o", options, "none", this.path]);
    } catch (error) {
      removeDir(this.path);
      throw error;
    }
    mkdirSync(this.#ballast);
  }

  /** Uses up its bytes, except this many. */
  fill(left = 0): void {
    const file = openSync(`${this.#ballast}/bytes`, "w");
    try {
      while (true) writeSync(file, new Uint8Array(4_096));
    } catch {
      ftruncateSync(file, fstatSync(file).size - left);
    } finally {
      closeSync(file);
    }
  }

  /** Uses up its inodes, except this many. */
  fillNames(left = 0): void {
    let count = 0;
    try {
      for (;; count++) closeSync(openSync(`${this.#ballast}/${count}`, "w"));
    } catch {
      while (left-- > 0) rmSync(`${this.#ballast}/${--count}`);
    }
  }

  /** Makes room again. */
  empty(): void {
    for (const name of readdirSync(this.#ballast)) rmSync(`${this.#ballast}/${name}`);
  }

  remove(): void {
    execute([...ROOT, "umount", "-l", this.path]);
    removeDir(this.path);
  }

  [Symbol.dispose](): void {
    this.remove();
  }
}

/** The kernel queues of a user, and everything in the directories of its namespaces, as root sees them. */
export function allOf(user: number): string[] {
  const directory = makeDir("mqueue");
  const look = 'mount -t mqueue none "$1" && find "$1" /dev/shm -mindepth 1 -uid "$2"';
  // in a mount namespace of its own, invisible to other processes
  const found = execute([...ROOT, "unshare", "--mount", "sh", "-c", look, "sh", directory, String(user)]);
  removeDir(directory);
  return found.split("\n").filter(Boolean).map((path) => path.replace(directory, "/dev/mqueue"));
}
