/** The tags and the policies of queues, in which a peer may choose any names: they do not reach the engine's parser. */
// run: on bun
import { assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { CreateQueueCommand } from "@aws-sdk/client-sqs";
import { mergePolicies, policyOf, topicsOf } from "../../src/providers/aws/bus_queue.ts";
import { AwsClient } from "../../src/providers/aws/client.ts";
import { parseOptions } from "../../src/providers/aws/options.ts";
import { ORIGIN_TAG } from "../../src/providers/aws/origin_tag.ts";
import { LEASE_TAG } from "../../src/providers/aws/queue_tags.ts";
import { tagsOf } from "../../src/providers/aws/registry.ts";
import { kept, spy } from "../support/spy.ts";
import { Admin } from "./admin.ts";
import { type Emulator, startEmulator } from "./emulator.ts";
import { fresh } from "./halves.ts";

const CHOSEN = "chosen";
const ARN = "arn:aws:sns:eu-west-1:123456789012:";

describe("of a peer's queues, the engine parses", () => {
  let emulator: Emulator;
  let admin: Admin;
  let client: AwsClient;
  beforeAll(async () => {
    emulator = await startEmulator();
    admin = new Admin(emulator.options);
    client = new AwsClient(parseOptions(emulator.options), () => Promise.reject(), 10_000);
  });
  afterAll(async () => {
    client.close();
    admin[Symbol.dispose]();
    await emulator.stop();
  });

  /** Returns the tags of a new queue as a bus reads them, and the texts with the chosen names that were parsed meanwhile. */
  async function read(ours: Record<string, string>, others: number) {
    const names = Array.from({ length: others }, (_, i) => `${CHOSEN}-${i}`);
    const tags = { ...Object.fromEntries(names.map((name) => [name, "value"])), ...ours };
    const QueueName = fresh();
    const { QueueUrl } = await admin.sqs.send(new CreateQueueCommand({ QueueName, tags }));
    const parsed: unknown[] = [];
    const restore = spy(JSON, "parse", parsed);
    try {
      return { found: await tagsOf(client, QueueUrl!), parsed: parsed.filter((text) => String(text).includes(CHOSEN)) };
    } finally {
      restore();
      await admin.deleteQueue(QueueName);
    }
  }

  it("only the tags of tsmq", async () => {
    const both = { [LEASE_TAG]: "1700000000000", [ORIGIN_TAG]: "1 2 host:/=+@- program" };
    const cases: Record<string, string>[] = [both, { [LEASE_TAG]: "1" }, {}];
    for (const ours of cases) {
      for (const others of [0, 48]) assertEquals(await read(ours, others), { found: ours, parsed: [] });
    }
  });

  it("no part of a policy", () => {
    const [a, b] = [`${ARN}a`, `${ARN}b`];
    const chosen = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`${CHOSEN}-${i}`, "v"]));
    const Condition = { StringLike: chosen, ArnEquals: { ...chosen, "aws:SourceArn": [a, b] } };
    const policy = JSON.stringify({ Version: "2012-10-17", Statement: [{ Sid: CHOSEN, Condition }, { Sid: "tsmq" }] });
    const ours = policyOf("queue", [a], ARN, "");
    let merged = "";
    const uses = kept(() => {
      assertEquals(topicsOf(policy), [a, b]);
      merged = mergePolicies(policy, ours);
    });
    assertEquals(uses.filter((use) => String(use).includes(CHOSEN)), []);
    assertEquals(JSON.parse(merged).Statement, [JSON.parse(ours).Statement[0], { Sid: CHOSEN, Condition }]);
  });
});
