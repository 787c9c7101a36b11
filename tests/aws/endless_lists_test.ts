/** The lists of an admin on an account in which a peer has created any number of names: each page that SNS and SQS return is followed by another. */
// run: on deno
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { createServer } from "node:http";
import { MAX_LISTED } from "../../src/provider/listing.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { warnings } from "../support/warnings.ts";

/** The numbers of names in a page. */
const PAGE = { queues: 1_000, subscriptions: 100 };

/** A service whose lists have no end. It refuses all other requests. */
async function endless(names: Names) {
  let pages = 0;
  const queues = (prefix: string) => {
    const name = (i: number) => prefix + (pages * PAGE.queues + i).toString(16).padStart(32, "0");
    const QueueUrls = Array.from({ length: PAGE.queues }, (_, i) => `http://localhost/0/${name(i)}`);
    return JSON.stringify({ QueueUrls, NextToken: "next" });
  };
  const subscriptions = () => {
    const member = (i: number) => {
      const topic = `t${pages * PAGE.subscriptions + i}`;
      const arn = (service: string, name: string) => `arn:aws:${service}:eu-west-1:0:${name}`;
      const [Topic, Endpoint] = [arn("sns", names.topic(topic)), arn("sqs", names.queue(`${topic}@g`))];
      return `<member><TopicArn>${Topic}</TopicArn><Endpoint>${Endpoint}</Endpoint></member>`;
    };
    const members = Array.from({ length: PAGE.subscriptions }, (_, i) => member(i)).join("");
    const result = `<Subscriptions>${members}</Subscriptions><NextToken>next</NextToken>`;
    return `<ListSubscriptionsResponse><ListSubscriptionsResult>${result}</ListSubscriptionsResult></ListSubscriptionsResponse>`;
  };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const target = request.headers["x-amz-target"];
    if (target === "AmazonSQS.ListQueues") response.end(queues(JSON.parse(body).QueueNamePrefix));
    else if (/^Action=ListSubscriptions&/.test(body)) response.end(subscriptions());
    else return void response.writeHead(400).end(JSON.stringify({ __type: "AccessDenied" }));
    pages++;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { endpoint: `http://127.0.0.1:${port}`, pages: () => pages, close: () => server.close() };
}

describe("an AWS admin", () => {
  it("reads a limited number of queues, buses and subscriptions, and warns that there are more", async () => {
    const service = await endless(new Names("n"));
    const credentials = { accessKeyId: "a", secretAccessKey: "s" };
    const admin = await aws({ endpoint: service.endpoint, region: "eu-west-1", credentials }).admin!.open("n");
    let read = 0;
    const pages = () => {
      const before = read;
      read = service.pages();
      return read - before;
    };
    const list = async () => {
      assertEquals((await admin.groups())!.length, MAX_LISTED);
      assertEquals(pages(), MAX_LISTED / PAGE.subscriptions + 1);
      for (const each of [() => admin.queues(), () => admin.buses(), () => admin.leftovers()]) {
        await assertRejects(each); // it asks the service about each
        assertEquals(pages(), MAX_LISTED / PAGE.queues + 1);
      }
    };
    try {
      assertEquals(
        await warnings(list),
        ["subscriptions", "queues", "buses", "queues of buses"].map((things) =>
          `There are more than ${MAX_LISTED} ${things} in the namespace n: the others are not listed or counted`
        ),
      );
    } finally {
      await admin.close();
      service.close();
    }
  });
});
