// run: on deno
import { assertEquals, assertRejects } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus, NoSuchRemoteError } from "../../mod.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { type Answer, readRequest, type Request, writeAnswer } from "../../src/rpc/wire.ts";
import { RedisServer } from "../support/redis_server.ts";
import { pause, until } from "../support/until.ts";
import { fresh, type Halves, open } from "./halves.ts";

/** Returns the request in a body. */
function requestOf(body: string): Request {
  return readRequest(JSON.parse(body).__obj)!;
}

function refusal({ call, fn }: Request, server: string): string {
  const id = call!.id;
  return writeAnswer({
    fn,
    result: "null",
    resultType: "NoneType",
    isError: true,
    call: { id, server, refused: "gone" },
  });
}

describe("a caller", () => {
  let server: RedisServer;
  beforeAll(async () => server = await RedisServer.start());
  afterAll(() => server.stop());

  /** A client that records the requests on a topic, and the messages in its inbox. */
  async function stranger(namespace: string, topic: string, serves: boolean): Promise<[Halves, string[]]> {
    const halves = await open({ port: server.port }, { namespace });
    const seen: string[] = [];
    await halves.receiver.subscribe({ topic, pattern: false, serves }, (_, body) => seen.push(body));
    return [halves, seen];
  }

  it("refused twice by one server, which it asked twice, does not skip a server", async () => {
    const namespace = fresh();
    const [goes] = await stranger(namespace, "fn", true);
    await using caller = await Bus.open(redis({ port: server.port }), { namespace });
    const answer = caller.stub("fn", { timeout: 10_000 })();
    await until("it is asked", () => goes.inbox.length === 1);
    const request = requestOf(goes.inbox[0]!);
    const refuse = () => goes.sender.post(request.call!.inbox, refusal(request, goes.receiver.inbox));
    let served = 0;
    const serve = async () => {
      served++;
      await refuse();
      await pause(200); // by now, another server would have been asked
      return served;
    };
    await using one = await Bus.open(redis({ port: server.port }), { namespace });
    await using other = await Bus.open(redis({ port: server.port }), { namespace });
    await Promise.all([one.expose("fn", serve), other.expose("fn", serve)]);
    await refuse();
    assertEquals(await answer, 1);
    assertEquals(served, 1);
    await goes.close();
  });

  it("rejects with NoSuchRemoteError if its request reached only a server that is closing", async () => {
    const namespace = fresh();
    const [goes, seen] = await stranger(namespace, "fn", false);
    await using caller = await Bus.open(redis({ port: server.port }), { namespace });
    const rejected = assertRejects(() => caller.stub("fn", { timeout: 10_000 })(), NoSuchRemoteError);
    await until("it is asked", () => seen.length === 1);
    const request = requestOf(seen[0]!);
    await goes.sender.post(request.call!.inbox, refusal(request, goes.receiver.inbox));
    await rejected;
    await goes.close();
  });

  it("gets the answers of PyMQ's other servers if one of them answers garbage", async () => {
    const namespace = fresh();
    const [bad, seen] = await stranger(namespace, "fn", false);
    const [good] = await stranger(namespace, "fn", false);
    await using caller = await Bus.open(redis({ port: server.port }), { namespace });
    const results = caller.stub("fn", { timeout: 10_000, multi: true })();
    await until("they are asked", () => seen.length === 1);
    const { channel, fn } = requestOf(seen[0]!);
    await bad.sender.replies!.put(channel, "{garbage");
    const answer: Answer<string> = { fn, result: "7", resultType: "int", isError: false };
    await good.sender.replies!.put(channel, writeAnswer(answer));
    assertEquals(await results, [{ status: "fulfilled", value: 7 }]);
    await Promise.all([bad.close(), good.close()]);
  });
});
