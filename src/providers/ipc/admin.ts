/**
 * Checks the POSIX queues of this machine, lists queues and removes the remains of dead buses.
 *
 * @module
 */
import { removeBuses } from "./cleanup.ts";
import { countItems } from "./counts.ts";
import type { Admin, BusInfo, Check, FunctionInfo, GroupInfo, QueueInfo, TopicInfo } from "../../provider/admin.ts";
import { groupsOf } from "../../provider/bindings.ts";
import { limited } from "../../provider/listing.ts";
import { DEAD } from "../../provider/queue_names.ts";
import { BusError } from "../../errors.ts";
import { inParallel } from "../../internal/in_parallel.ts";
import { textSet } from "../../internal/text_map.ts";
import { textOf } from "../../internal/thrown.ts";
import { pause } from "../../internal/time.ts";
import { STRANGE_PARTS } from "./files.ts";
import { Leases } from "./leases.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { type Raised, raiseLimits } from "./limits.ts";
import { describeBuses, listBindings, listBuses, listFunctions, listTopics } from "./lists.ts";
import { EVENTS, INBOX, MQUEUE } from "./mqueues.ts";
import { Namespace, type Settings } from "./namespace.ts";
import { loadPosix } from "./posix.ts";
import { inParts, type Steps } from "./walk.ts";

const LIMITS = "/proc/sys/fs/mqueue";
/** The default of RLIMIT_MSGQUEUE in bytes. */
const USUAL = 819_200;

/** The number of queues that are counted at the same time. */
const PARALLEL = 256;

/** Checks the POSIX queues, and lists what a namespace contains. */
export class IpcAdmin implements Admin {
  #settings: Settings;
  #name: string;
  #namespace: Namespace | undefined;
  #leases: Leases | undefined;
  #raised: Raised | undefined;

  /** Prepares the admin of the namespace of this name. */
  constructor(settings: Settings, name: string) {
    this.#settings = settings;
    this.#name = name;
  }

  async *checks(): AsyncGenerator<Check> {
    const { directory } = this.#settings;
    try {
      await this.#open();
    } catch (error) {
      return yield unusable(error as Error, directory);
    }
    yield { name: "platform", state: "ok", detail: "Linux, its C library can be called" };
    yield this.#directory();
    yield this.#process();
    yield this.#queues();
    yield this.#limits();
    yield await this.#leftovers();
  }

  /**
   * Lists the queues that have items. The kernel shows the names of queues only where their file system is mounted; elsewhere, a queue is
   * listed if it has files, or while a bus has it open.
   */
  async queues(): Promise<QueueInfo[]> {
    const { directories, posix, names } = await this.#open();
    const listed = this.#mounted() && posix.list(MQUEUE, false, STRANGE_PARTS);
    const prefix = names.queue("x").slice(1, -1);
    const inKernel = typeof listed === "object" ? listed : await inParts(this.#openQueues(await this.inboxes()));
    const files = [...inKernel, ...directories.list("queues")];
    // $ begins the queues of buses, ~ the hashed names
    const found = files.filter((name) => name.startsWith(prefix) && !/^[$~]/.test(name.slice(prefix.length)))
      .map((name) => name.slice(prefix.length));
    const queues = textSet([...found, ...found.map((name) => name + DEAD)]);
    const some = limited(this.#titled("queues"), queues.keys());
    const counted = await inParallel(some, PARALLEL, async (name) => {
      await pause(0); // others can create any number, so the event loop runs in between
      return this.#count(name);
    });
    return counted.filter(({ waiting = 0, leased = 0, delayed = 0 }) => waiting + leased + delayed > 0);
  }

  async topics(): Promise<TopicInfo[]> {
    return inParts(listTopics(await this.#open(), this.#titled));
  }

  async functions(): Promise<FunctionInfo[]> {
    return inParts(listFunctions(await this.#open(), this.#titled));
  }

  async groups(): Promise<GroupInfo[]> {
    return groupsOf(await inParts(listBindings(await this.#open(), this.#titled)));
  }

  async buses(): Promise<BusInfo[]> {
    return inParts(describeBuses(await this.#open(), await this.inboxes()));
  }

  /** Lists the names of the buses, which are the addresses of their inboxes. */
  async inboxes(): Promise<string[]> {
    return inParts(listBuses(await this.#open(), this.#titled));
  }

  async leftovers(): Promise<string[]> {
    return (await this.#dead()).map((bus) => `bus ${bus}`);
  }

  async *reap(): AsyncGenerator<string> {
    const namespace = await this.#open();
    const dead = await inParts(namespace.deadBuses());
    await inParts(removeBuses(namespace, dead));
    for (const bus of dead) yield `bus ${bus}`;
  }

  close(): Promise<void> {
    this.#namespace?.close();
    this.#namespace = undefined;
    return Promise.resolve();
  }

  async #open(): Promise<Namespace> {
    this.#raised ??= raiseLimits(await loadPosix(), this.#settings.raiseLimit);
    return this.#namespace ??= await Namespace.open(this.#settings, this.#name, () => {});
  }

  /** Returns whether the file system of the kernel's queues is mounted. Containers may have an empty directory in its place. */
  #mounted(): boolean {
    const { posix } = this.#namespace!;
    const [own, parent] = [posix.stat(MQUEUE), posix.stat(`${MQUEUE}/..`)];
    return typeof own === "object" && typeof parent === "object" && own.device !== parent.device;
  }

  /** Returns the queues of this namespace that the processes of these buses have open. Members of a group can name other processes, of any size. */
  *#openQueues(buses: readonly string[]): Steps<string[]> {
    const { names, posix } = this.#namespace!;
    const found: string[] = [];
    for (const pid of textSet(buses.map((bus) => String(names.parseBus(bus)!.pid))).keys()) {
      yield;
      const descriptors = posix.list(`/proc/${pid}/fd`, false, STRANGE_PARTS);
      if (typeof descriptors === "number") continue; // another user's process, or one that has just ended
      for (const each of descriptors) {
        yield;
        const name = String(posix.readLink(`/proc/${pid}/fd/${each}`)).slice(1);
        if (names.owns(`/${name}`)) found.push(name);
      }
    }
    return found;
  }

  async #count(name: string): Promise<QueueInfo> {
    const namespace = this.#namespace!;
    const leases = this.#leases ??= new Leases(namespace, "");
    try {
      return { name, ...await countItems(namespace, leases, namespace.names.queue(name)) };
    } catch (error) {
      // any user can create a queue of this name, and must not hide the others
      if (error instanceof BusError && error.code === "denied") return { name };
      throw error;
    }
  }

  /** Returns how a warning calls these things of the namespace. */
  readonly #titled = (things: string) => `${things} in the namespace ${this.#name}`;

  /** Checks the directory of subscriptions, leases and large bodies. */
  #directory(): Check {
    const { bodyFiles, directories } = this.#namespace!;
    const name = "directory";
    try {
      const file = bodyFiles.write("doctor", "doctor", true);
      bodyFiles.remove("doctor", file);
      directories.prune("doctor");
      return { name, state: "ok", detail: `${directories.root} can be written` };
    } catch (error) {
      return unusable(error as Error, this.#settings.directory);
    }
  }

  /** Reports the limit of this process, and whether it was raised. */
  #process(): Check {
    const { before, now } = this.#raised!;
    const bytes = (limit: number) => limit === Infinity ? "unlimited" : `${limit} bytes`;
    const raised = now > before ? `, raised from ${bytes(before)}` : "";
    const detail = `RLIMIT_MSGQUEUE is ${bytes(now)}${raised}`;
    const name = "process limits";
    if (!(now < USUAL)) return { name, state: "ok", detail };
    const mend =
      "raise the hard limit (`ulimit -Hq`, LimitMSGQUEUE= of systemd), or use `raiseLimit: true` with CAP_SYS_RESOURCE";
    return { name, state: "risk", detail, mend };
  }

  /** Checks that the queues of a bus and a named queue can be created. */
  #queues(): Check {
    const { names, posix, processes, queues } = this.#namespace!;
    const name = "queues";
    const bus = names.newBus(processes.self, 0);
    const made = [eventsOf(bus), inboxOf(bus), names.queue(bus)] as const;
    try {
      const [events, inbox] = [queues.create(made[0], EVENTS), queues.create(made[1], INBOX)];
      const smaller = events.size < EVENTS[0]!.size || inbox.size < INBOX[0]!.size;
      for (const queue of [events, inbox]) queues.release(queue);
      const inFiles = queues.useNamed(made[2], this.#settings.messageSize) === undefined;
      if (!smaller && !inFiles) {
        return { name, state: "ok", detail: "there is room for one more bus and one more queue" };
      }
      const detail = [
        smaller ? "the queues of the next bus are smaller than usual: larger events go into files" : "",
        inFiles ? "the items of the next named queue are in files, which PyMQ cannot read" : "",
      ].filter(Boolean).join("; ");
      return { name, state: "risk", detail, mend: ROOM };
    } catch (error) {
      return { name, state: "broken", detail: textOf(error), mend: ROOM };
    } finally {
      for (const queue of made) {
        posix.unlinkQueue(queue);
        queues.removed(queue);
      }
    }
  }

  /** Checks how large the kernel allows one queue to be. */
  #limits(): Check {
    const name = "kernel limits";
    const [messages, size, queues] = ["msg_max", "msgsize_max", "queues_max"].map((limit) => this.#limit(limit));
    const detail = `${queues} queues, of ${messages} messages of ${size} bytes`;
    const { messageSize } = this.#settings;
    if (messages! >= 10 && size! >= messageSize) return { name, state: "ok", detail };
    const mend =
      `sysctl fs.mqueue.msg_max=10 fs.mqueue.msgsize_max=${messageSize}: until then named queues are smaller, or cannot be created`;
    return { name, state: "risk", detail, mend };
  }

  #limit(name: string): number {
    return Number(this.#namespace!.posix.readText(`${LIMITS}/${name}`, 32));
  }

  /** Returns the dead buses, within the limits of a list. */
  async #dead(): Promise<string[]> {
    const namespace = await this.#open();
    return inParts(namespace.deadBuses(limited(this.#titled("buses"), namespace.buses())));
  }

  async #leftovers(): Promise<Check> {
    const name = "leftovers";
    const dead = await this.#dead();
    if (dead.length === 0) return { name, state: "ok", detail: "no queues, links or files of a dead bus" };
    const detail = `queues, links and files of ${dead.length} bus(es) whose process has ended`;
    return { name, state: "risk", detail, mend: "tsmq reap removes them; so does the next bus of this user" };
  }
}

const ROOM = "raise RLIMIT_MSGQUEUE (`ulimit -q`, LimitMSGQUEUE= of systemd) or fs.mqueue.queues_max, or free queues " +
  `that are not needed: \`ls ${MQUEUE}\` shows them (mount -t mqueue none ${MQUEUE})`;

function unusable(error: Error, directory: string): Check {
  const { message: detail } = error;
  const code = error instanceof BusError ? error.code : undefined;
  if (/Requires \w+ access/.test(detail)) {
    const mend = "run Deno with --allow-ffi";
    return { name: "runtime permission", state: "broken", detail, mend };
  }
  if (code === "unsupported") {
    const mend = "IPC needs Linux (x86-64, aarch64) with CONFIG_POSIX_MQUEUE: use redis: or aws: elsewhere";
    return { name: "platform", state: "broken", detail, mend };
  }
  const mend = /no space/.test(detail)
    ? `free what ${directory} holds, or enlarge it: mount -o remount,size=…`
    : `the directory belongs to another user: use another namespace, the option "group", or another directory ` +
      `in memory than ${directory} (ipc:/directory)`;
  return { name: "directory", state: "broken", detail, mend };
}
