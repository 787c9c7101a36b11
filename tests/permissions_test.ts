// run: on deno, kernel-queues
/** The README's table of Deno permissions. With exactly these, a bus works; without one of them, the error names it. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Emulator, startEmulator } from "./aws/emulator.ts";
import { fresh } from "./bus/grounds.ts";
import { Peer } from "./support/peer.ts";
import { RedisServer } from "./support/redis_server.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** The permissions of a transport: in the README, and for the server of this test. */
interface Ground {
  /** The flags in the README. */
  readonly flags: string;
  /** The replacement for `host:port`. */
  readonly address?: () => string;
  readonly options?: () => unknown;
  /** Options with a host name in place of an address. */
  readonly named?: () => Record<string, unknown>;
  start?(): Promise<unknown>;
  stop?(): Promise<unknown>;
}

/** The error of a bus that could not be opened. */
interface Denied {
  readonly typed: boolean;
  readonly code: string;
  readonly message: string;
}

let server: RedisServer;
let emulator: Emulator;

/** One entry for each provider. */
const GROUNDS: Record<string, Ground> = {
  memory: { flags: "--allow-read" },
  redis: {
    flags: "--allow-read --allow-net=host:port --allow-env",
    address: () => `127.0.0.1:${server.port}`,
    options: () => ({ port: server.port }),
    named: () => {
      const host = "localhost";
      return {
        server: { host, port: server.port },
        Sentinels: { sentinels: [{ host, port: server.port }], name: "mymaster" },
        Cluster: { cluster: [{ host, port: server.port }] },
      };
    },
    start: async () => server = await RedisServer.start(),
    stop: () => server.stop(),
  },
  aws: {
    flags: "--allow-read --allow-net --allow-env --allow-sys=osRelease",
    options: () => emulator.options,
    named: () => ({ endpoint: { ...emulator.options, endpoint: "http://localhost:1" } }),
    start: async () => emulator = await startEmulator(),
    stop: () => emulator.stop(),
  },
};

if (process.platform === "linux") GROUNDS.ipc = { flags: "--allow-read --allow-ffi" };

/** The package's own files are all that has to be read. */
const READ = `--allow-read=${ROOT}mod.ts,${ROOT}src,${ROOT}workers`;

async function under(
  name: string,
  flags: string[],
  options: unknown = GROUNDS[name]!.options?.() ?? {},
): Promise<unknown> {
  const { address } = GROUNDS[name]!;
  const granted = flags.map((flag) => flag === "--allow-read" ? READ : flag.replace("host:port", address?.() ?? ""));
  // without any flag about permissions, a `deno` that a Deno starts gets all of them
  const permissions = ["--deny-run", ...granted];
  const args = [JSON.stringify(options), fresh()];
  const file = new URL(`permissions/${name}.ts`, import.meta.url);
  await using peer = Peer.start(file, { runtime: "deno", permissions, args });
  const said = await peer.next();
  assertEquals(await peer.wait(), { code: 0, signal: null });
  return said;
}

for (const [name, ground] of Object.entries(GROUNDS)) {
  describe(`Deno permissions of ${name}`, () => {
    beforeAll(async () => void await ground.start?.());
    afterAll(async () => void await ground.stop?.());
    const flags = ground.flags.split(" ");

    it(`are in the README: ${ground.flags}`, () => {
      assert(readFileSync(`${ROOT}README.md`, "utf8").includes(`\`${ground.flags}\``));
    });

    it("are enough", async () => {
      assertEquals(await under(name, flags), "done");
    });

    if (flags.includes("--allow-ffi")) {
      it("are not enough where --allow-ffi names the C library, because its memory cannot be read then", async () => {
        const paths = readFileSync("/proc/self/maps", "utf8").matchAll(/ (\/\S*\/libc\.so\.6)$/gm);
        for (const library of new Set(["libc.so.6", ...[...paths].map(([, path]) => path!)])) {
          const limited = flags.map((flag) => flag === "--allow-ffi" ? `--allow-ffi=${library}` : flag);
          const said = await under(name, limited) as Record<string, unknown>;
          assertEquals([said.typed, said.code], [true, "denied"], JSON.stringify(said));
        }
      });
    }

    if (ground.named) {
      it("are named too where the server has a host name", async () => {
        for (const [what, options] of Object.entries(ground.named!())) {
          const said = await under(name, flags.filter((flag) => !flag.startsWith("--allow-net")), options) as Denied;
          assertEquals([said.typed, said.code], [true, "denied"], JSON.stringify(said));
          assertMatch(said.message, /^Cannot .*Requires net access to "localhost(:\d+)?", .* --allow-net/, what);
        }
      });
    }

    for (const flag of flags) {
      it(`are all needed: without ${flag} the bus is denied, and says what it lacks`, async () => {
        const said = await under(name, flags.filter((other) => other !== flag)) as Record<string, unknown>;
        assertEquals([said.typed, said.code], [true, "denied"], JSON.stringify(said));
        assertMatch(
          String(said.message),
          new RegExp(`^Cannot .*Requires ${/-([a-z]+)=?/.exec(flag.slice(7))![1]} access`),
        );
      });
    }
  });
}
