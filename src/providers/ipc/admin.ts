/**
 * Checks the POSIX queues of this machine, lists queues and removes the remains of dead buses.
 *
 * @module
 */
import { removeBus } from "./cleanup.ts";
import type { Check, Doctor } from "../../provider/admin.ts";
import { BusError } from "../../errors.ts";
import { textOf } from "../../internal/thrown.ts";
import { eventsOf, inboxOf } from "./names.ts";
import { ipc, type IpcOptions } from "./provider.ts";
import { type Raised, raiseLimits } from "./limits.ts";
import { EVENTS, INBOX, MQUEUE } from "./mqueues.ts";
import { Namespace, type Settings } from "./namespace.ts";
import { loadPosix } from "./posix.ts";

const LIMITS = "/proc/sys/fs/mqueue";
/** The default of RLIMIT_MSGQUEUE in bytes. */
const USUAL = 819_200;

/** Returns the doctor of a namespace of `ipc(options)`. */
export function ipcDoctor(options: IpcOptions, name: string): Doctor {
  return new IpcDoctor(ipc(options).options as Settings, name);
}

class IpcDoctor implements Doctor {
  #settings: Settings;
  #name: string;
  #namespace: Namespace | undefined;
  #raised: Raised | undefined;

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
    yield this.#leftovers();
  }

  async reap(): Promise<string[]> {
    const namespace = await this.#open();
    return namespace.deadBuses().map((bus) => {
      removeBus(namespace, bus);
      return `bus ${bus}`;
    });
  }

  async queues(): Promise<string[]> {
    const { directories, posix, names } = await this.#open();
    const listed = posix.list(MQUEUE);
    const prefix = names.queue("x").slice(1, -1);
    const files = directories.list("queues");
    // $ begins the queues of buses, ~ the hashed names
    return [...new Set([...typeof listed === "number" ? [] : listed, ...files])].filter((name) =>
      name.startsWith(prefix) && !/^[$~]/.test(name.slice(prefix.length))
    )
      .map((name) => name.slice(prefix.length));
  }

  close(): Promise<void> {
    this.#namespace?.close();
    return Promise.resolve();
  }

  async #open(): Promise<Namespace> {
    this.#raised ??= raiseLimits(await loadPosix(), this.#settings.raiseLimit);
    return this.#namespace ??= await Namespace.open(this.#settings, this.#name, () => {});
  }

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

  /** Reports the limit of this process, and what was done about it. */
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
    const { posix } = this.#namespace!;
    const file = posix.openFile(`${LIMITS}/${name}`);
    if (file < 0) return NaN;
    const buffer = new Uint8Array(32);
    const length = posix.read(file, buffer);
    posix.close(file);
    return Number(new TextDecoder().decode(buffer.subarray(0, Math.max(0, length))));
  }

  #leftovers(): Check {
    const name = "leftovers";
    const dead = this.#namespace!.deadBuses();
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
