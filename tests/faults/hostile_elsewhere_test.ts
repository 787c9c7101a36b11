// run: on bun, kernel-queues, deadline 240 (what the kernel grants a user's queues is there only once)
import { assert } from "@std/assert";
import { ListQueuesCommand, SendMessageCommand } from "@aws-sdk/client-sqs";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { eventsOf, inboxOf } from "../../src/providers/ipc/names.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { Namespace, type Settings } from "../../src/providers/ipc/namespace.ts";
import { Admin } from "../aws/admin.ts";
import { fresh } from "../bus/grounds.ts";
import { Random, SEED } from "../support/random.ts";
import { AwsGround } from "./aws.ts";
import { garbage } from "./garbage.ts";
import { victim } from "./victim.ts";

const ROUNDS = 20;
const decoder = new TextDecoder();

describe(`a hostile peer elsewhere (seed ${SEED})`, () => {
  it("that sends garbage to every queue of SQS: valid messages arrive, rejected ones are reported", async () => {
    await using ground = await AwsGround.open();
    const random = new Random(SEED);
    await using all = await victim((namespace) => Bus.open(ground.provider(), { namespace, timeout: 10_000 }), fresh());
    await all.works();
    using admin = new Admin(ground.place.options);
    const { QueueUrls } = await admin.sqs.send(new ListQueuesCommand({}));
    assert(QueueUrls!.length >= 4, `it finds ${QueueUrls}`);
    for (let round = 0; round < ROUNDS; round++) {
      for (const QueueUrl of QueueUrls!) {
        // what SQS takes of it
        const text = () => decoder.decode(garbage(random)).replace(/[^\t\n\r\x20-\uD7FF]/g, "?") || "?";
        const StringValue = random.pick([
          '{"topic":"news"}',
          '{"topic":[]}',
          '{"inbox":true}',
          '{"json":true}',
          text(),
        ]);
        const MessageAttributes = random.chance(0.7) ? { tsmq: { DataType: "String", StringValue } } : undefined;
        await admin.sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: text(), MessageAttributes }));
      }
    }
    await all.works();
    assert(all.refused.get("invalid")! > ROUNDS, `it said ${JSON.stringify([...all.refused])}`);
  });

  it("that sends garbage to every kernel queue: valid messages arrive, rejected ones are reported", async () => {
    const random = new Random(SEED);
    const namespace = fresh();
    const provider = ipc({ messageSize: 512 });
    await using all = await victim((namespace) => Bus.open(provider, { namespace, timeout: 10_000 }), namespace);
    await all.works();
    const internals = await Namespace.open(provider.options as Settings, namespace, () => {});
    const { posix } = internals;
    const names = internals.directories.list("loops").flatMap((busName) => [eventsOf(busName), inboxOf(busName)]);
    names.push(internals.names.queue("jobs"), internals.names.queue("got"));
    assert(names.length >= 6, `it finds ${names}`);
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of names) {
        const queue = posix.openQueue(name);
        const message = garbage(random).slice(0, 256);
        posix.send(queue, message, message.length, random.int(0, 10));
        posix.close(queue);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await all.works();
    assert(all.refused.get("invalid")! + (all.refused.get("internal") ?? 0) > 10, JSON.stringify([...all.refused]));
    for (const name of ["jobs", "got", "jobs.dead"]) await all.bus.queue(name).free();
  });
});
