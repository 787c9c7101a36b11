// run: kernel-queues, deadline 300 (four transports, one after the other)
import { afterAll, describe, it } from "@std/testing/bdd";
import { appendFileSync } from "node:fs";
import process from "node:process";
import { memory } from "../../mod.ts";
import { SEED } from "../support/random.ts";
import { runsHere } from "../support/share.ts";
import { skip } from "../support/skip.ts";
import { pause } from "../support/until.ts";
import { AwsGround } from "./aws.ts";
import { buses, type GroupGround, processes, trial } from "./groups.ts";
import { IpcGround } from "./ipc.ts";
import { RedisGround } from "./redis.ts";
import { type Row, table } from "./report.ts";

/** The filter for transports: `deno task test:faults groups --only=redis`. */
const ONLY = new RegExp(process.env.TSMQ_FAULTS_ONLY ?? "");

/** Creates a ground for memory. Its broker is in this process, so members and publishers are buses, which are closed by force. */
function inMemory(): Promise<GroupGround> {
  const provider = memory();
  const ended = () => Promise.resolve();
  return Promise.resolve({ provider, pace: 6, rest: [50, 400], start: buses(provider), [Symbol.asyncDispose]: ended });
}

async function onRedis(): Promise<GroupGround> {
  const ground = await RedisGround.open();
  const { server } = ground;
  return {
    provider: ground.provider(),
    pace: 6,
    rest: [100, 800],
    start: processes(ground.place),
    break: async (random) => {
      await server.kill();
      await pause(random.int(0, 500));
      await server.start();
    },
    [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose](),
  };
}

function onIpc(): Promise<GroupGround> {
  const ground = new IpcGround();
  const ended = () => ground[Symbol.asyncDispose]();
  const start = processes(ground.place);
  return Promise.resolve({
    provider: ground.provider(),
    pace: 6,
    rest: [100, 800],
    start,
    [Symbol.asyncDispose]: ended,
  });
}

async function onAws(): Promise<GroupGround> {
  const ground = await AwsGround.open();
  return {
    provider: ground.provider(),
    pace: 30,
    rest: [300, 2_400], // a process loads the SDK
    start: processes(ground.place),
    // the emulator keeps everything in memory
    break: () => Promise.resolve(ground.wire.cut()),
    [Symbol.asyncDispose]: () => ground[Symbol.asyncDispose](),
  };
}

describe(`groups, while processes and servers die (seed ${SEED})`, () => {
  const rows: Row[] = [];
  const grounds = { memory: inMemory, redis: onRedis, ipc: onIpc, aws: onAws };
  afterAll(() => {
    console.log(table(rows));
    const file = process.env.TSMQ_FAULTS_ROWS;
    if (file) appendFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  });
  for (const [n, [name, open]] of Object.entries(grounds).entries()) {
    // members and publishers are processes of both runtimes
    if (!ONLY.test(name) || !runsHere(n)) continue;
    const title =
      `on ${name}: each accepted event is handled, and twice only where a kill explains it; an absent group has each one, in order`;
    if (name === "aws" && process.env.TSMQ_TEST_AWS_ENDPOINT) {
      skip(title, "TSMQ_TEST_AWS_ENDPOINT names another service");
      continue;
    }
    it(title, async () => {
      await using ground = await open();
      rows.push(await trial(name, ground));
    });
  }
});
