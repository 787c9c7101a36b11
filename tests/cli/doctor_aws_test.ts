import { assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { CreateTopicCommand, SNSClient } from "@aws-sdk/client-sns";
import { CreateQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
import { TOPIC_TAG } from "../../src/providers/aws/topics.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { type Fault, HttpProxy } from "../aws/http_proxy.ts";
import { here } from "../support/peer.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { itShared } from "../support/share.ts";
import { diagnose } from "./doctor.ts";
import { tsmq } from "./run.ts";

/** Credentials in the environment, where the SDK finds them. An emulator accepts any. */
const KEY = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_EC2_METADATA_DISABLED: "true" };
const NONE = { AWS_CONFIG_FILE: "/none", AWS_SHARED_CREDENTIALS_FILE: "/none", AWS_EC2_METADATA_DISABLED: "true" };

describe("tsmq doctor aws:", () => {
  let server: FauxqsServer;
  let proxy: HttpProxy;
  beforeAll(async () => {
    server = await FauxqsServer.start();
    proxy = await HttpProxy.to(Number(new URL(server.endpoint).port));
  });
  afterAll(async () => {
    await proxy.close();
    await server.stop();
  });
  const fresh = () => ["-n", `n${crypto.randomUUID().slice(0, 8)}`];
  const url = () => `aws:us-east-1?endpoint=http://127.0.0.1:${proxy.port}`;

  async function refusing(fault: (action: string) => Fault | undefined) {
    proxy.fault = ({ action }) => fault(action);
    try {
      return await diagnose(url(), fresh(), { env: KEY });
    } finally {
      proxy.fault = () => undefined;
    }
  }

  itShared("finds no problem on a healthy service, and leaves nothing behind", async () => {
    const ns = fresh();
    const diagnosis = await diagnose(url(), ns, { env: KEY });
    const names = ["service", "permissions", "redrive", "leftovers", "namespace", "bus"];
    assertEquals(diagnosis.notOk(), ["namespace: risk"]); // nothing is in it
    assertEquals(diagnosis.checks.map(({ name }) => name), names);
    assertEquals((await tsmq(["reap", url(), ...ns], { env: KEY })).lines, []);
  });

  itShared("reports an endpoint that refuses connections, or an unknown host", async () => {
    const down = await diagnose("aws:us-east-1?endpoint=http://127.0.0.1:1", [], { env: KEY });
    assertEquals(down.notOk(), ["endpoint: broken"]);
    assertMatch(down.of("endpoint").mend!, /start the emulator/);
    const lost = await diagnose("aws:us-east-1?endpoint=http://no-such-host.invalid", [], { env: KEY });
    assertEquals(lost.notOk(), ["endpoint: broken"]);
    assertMatch(lost.of("endpoint").mend!, /DNS/);
  });

  itShared("reports a missing region, or missing credentials", async () => {
    const region = await diagnose("aws:", [], { env: { ...KEY, ...NONE, AWS_REGION: "", AWS_DEFAULT_REGION: "" } });
    assertEquals(region.notOk(), ["region: broken"]);
    assertMatch(region.of("region").mend!, /aws:eu-central-1/);
    const none = { ...NONE, AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
    const key = await diagnose("aws:us-east-1", [], { env: none });
    assertEquals(key.notOk(), ["credentials: broken"]);
    assertMatch(key.of("credentials").mend!, /AWS_ACCESS_KEY_ID/);
  });

  const keys: readonly [name: string, mend: RegExp][] = [
    ["InvalidClientTokenId", /does not know this access key/],
    ["SignatureDoesNotMatch", /wrong secret key/],
    ["ExpiredToken", /get new ones/],
  ];
  for (const [name, mend] of keys) {
    itShared(`explains rejected credentials: ${name}`, async () => {
      const { notOk, of } = await refusing(() => ({ status: 403, name }));
      assertEquals(notOk(), ["credentials: broken"]);
      assertMatch(of("credentials").mend!, mend);
    });
  }

  for (
    const action of ["sqs:CreateQueue", "sqs:ReceiveMessage", "sns:CreateTopic", "sns:Subscribe", "sns:PublishBatch"]
  ) {
    itShared(`reports that ${action} is denied`, async () => {
      const name = `may ${action.replace("Batch", "")}`;
      const { notOk, of } = await refusing((asked) =>
        asked === action ? { status: 403, name: "AccessDeniedException" } : undefined
      );
      assertEquals(notOk("leftovers"), [`${name}: broken`]);
      assertMatch(of(name).mend!, new RegExp(`allow ${action.replace("Batch", "")} .* docs/aws\\.md`));
    });
  }

  itShared("reports the remains of dead buses, and reap deletes them", async () => {
    const [, namespace] = fresh();
    const QueueName = `tsmq-${namespace}-${"0".repeat(32)}`;
    const client = new SQSClient({
      region: "us-east-1",
      endpoint: server.endpoint,
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    });
    await client.send(new CreateQueueCommand({ QueueName, tags: { "tsmq-lease": "1" } }));
    client.destroy();
    const topics = new SNSClient({
      region: "us-east-1",
      endpoint: server.endpoint,
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    });
    const Name = new Names(namespace!).topic("idle");
    await topics.send(new CreateTopicCommand({ Name, Tags: [TOPIC_TAG] }));
    topics.destroy();
    // the bus of the last check has a namespace of its own, so it does not clean up this one
    const { notOk, of, code } = await diagnose(url(), ["-n", namespace!], { env: KEY });
    assertEquals([code, ...notOk()], [0, "leftovers: risk", "namespace: risk"]);
    assertMatch(of("leftovers").detail, /1 queue\(s\) of buses that died, 1 unused topic\(s\)/);
    assertMatch(of("leftovers").mend!, /tsmq reap/);
    const { lines } = await tsmq(["reap", url(), "-n", namespace!], { env: KEY });
    assertEquals(lines, [`{"removed":"queue ${QueueName}"}`, `{"removed":"topic ${Name}"}`]);
  });

  itShared(
    "reports queues into which every queue of the account may move items, on a service that knows the attribute",
    async () => {
      const namespace = fresh()[1]!;
      const names = new Names(namespace);
      const client = new SQSClient({
        region: "us-east-1",
        endpoint: server.endpoint,
        credentials: { accessKeyId: "test", secretAccessKey: "test" },
      });
      const policies = { default: undefined, all: "allowAll", none: "denyAll", some: "byQueue" };
      for (const [queue, redrivePermission] of Object.entries(policies)) {
        const sourceQueueArns = queue === "some" ? ["arn:aws:sqs:us-east-1:000000000000:mine"] : undefined;
        const Attributes = redrivePermission === undefined
          ? undefined
          : { RedriveAllowPolicy: JSON.stringify({ redrivePermission, sourceQueueArns }) };
        await client.send(new CreateQueueCommand({ QueueName: names.queue(queue), Attributes }));
      }
      client.destroy();
      const { of, code } = await diagnose(url(), ["-n", namespace], { env: KEY });
      assertEquals([code, of("redrive").state], [0, "risk"]);
      const open = `${names.queue("all")}, ${names.queue("default")}`;
      const found = `2 of 4 queue(s) accept items from every queue of the account: ${open}`;
      assertEquals(of("redrive").detail, found);
      assertMatch(of("redrive").mend!, /RedriveAllowPolicy.*docs\/aws\.md/);
      proxy.fault = ({ body }) =>
        body.includes("RedriveAllowPolicy") ? { status: 400, name: "InvalidAttributeName" } : undefined;
      const unknown = await diagnose(url(), ["-n", namespace], { env: KEY });
      proxy.fault = () => undefined;
      assertEquals(unknown.of("redrive").state, "ok");
      assertMatch(unknown.of("redrive").detail, /cannot check/);
    },
  );

  if (here === "deno") {
    it("names the missing permission of Deno", async () => {
      const permissions = ["--allow-env", "--allow-read", "--allow-sys"];
      const { notOk, of } = await diagnose(url(), [], { env: KEY, permissions });
      assertEquals(notOk(), ["runtime permission: broken"]);
      assertMatch(of("runtime permission").detail, /--allow-net|net access/);
    });
  }
});
