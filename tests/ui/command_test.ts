/** The command `tsmq ui`. */
// run: on bun
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { Running } from "../cli/run.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import { until } from "../support/until.ts";

const it = itNeeds(missing("redis-server"));

describe("tsmq ui", () => {
  let server: RedisServer;
  beforeAll(async () => {
    if (!missing("redis-server")) server = await RedisServer.start({ password: "secret" });
  });
  afterAll(async () => await server?.stop());

  /** Reads the first event of the stream. */
  async function hello(url: string): Promise<string> {
    const { body } = await fetch(`${url}live`);
    const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    await until("the first event has arrived", async () => {
      text += (await reader.read()).value ?? "";
      return text.includes("\n\n");
    });
    await reader.cancel();
    return text;
  }

  it("prints the address of the dashboard, and closes it on Ctrl-C", async () => {
    await using ui = new Running(["ui", server.url, "-n", "shop"]);
    const [url = ""] = await ui.printed(1);
    assertMatch(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]+\/$/);
    assertMatch(await (await fetch(url)).text(), /<title>tsmq<\/title>/);
    const first = await hello(url);
    assertMatch(first, /"transport":"redis:\/\/127\.0\.0\.1:\d+"/);
    assert(!first.includes("secret"), "the password is not sent to the page");
    const env = { TSMQ_URL: server.url };
    await using named = new Running(["ui"], { env });
    const [other = ""] = await named.printed(1);
    assertMatch(await hello(other), /"transport":"redis:\/\/127\.0\.0\.1:\d+"/); // not env:TSMQ_URL
    ui.child.signal("SIGINT");
    assertEquals((await ui.ended()).code, 0);
    assertEquals(await fetch(url).then(() => "open", () => "closed"), "closed");
  });

  it("prints it as JSON, and reports a server that does not answer", async () => {
    await using ui = new Running(["ui", server.url, "--json"]);
    const { url } = JSON.parse((await ui.printed(1))[0]!) as { url: string };
    assertEquals((await fetch(url)).status, 200);
    const taken = new Running(["ui", server.url, "-p", new URL(url).port]);
    const { code, errors } = await taken.ended();
    assertEquals([code, errors.length], [1, 1]);
    const down = await new Running(["ui", "redis://127.0.0.1:1"]).ended();
    assertEquals([down.code, down.errors.length], [5, 1]);
  });
});
