// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { AwsOptions } from "../../src/providers/aws/provider.ts";
import { FauxqsServer } from "../support/fauxqs_server.ts";
import { Peer } from "../support/peer.ts";
import { HttpProxy } from "./http_proxy.ts";
import { itProxied } from "./emulator.ts";

interface Said {
  readonly options: AwsOptions;
  readonly proxied: boolean;
}

/** Returns the report of a test process that uses this endpoint. */
async function given(endpoint: string, ...args: string[]): Promise<Said> {
  const file = new URL("emulator_peer.ts", import.meta.url);
  await using peer = Peer.start<Said>(file, { args, env: { TSMQ_TEST_AWS_ENDPOINT: endpoint } });
  const said = await peer.next();
  assertEquals(await peer.wait(), { code: 0, signal: null });
  return said;
}

describe("TSMQ_TEST_AWS_ENDPOINT", () => {
  itProxied("replaces the emulator of the tests, and is left running", async () => {
    await using server = await FauxqsServer.start();
    await using proxy = await HttpProxy.to(Number(new URL(server.endpoint).port));
    const endpoint = `http://127.0.0.1:${proxy.port}`;
    const said = await given(endpoint, "use");
    assertEquals([said.options.endpoint, said.proxied], [endpoint, true]);
    assert(proxy.count("sqs:CreateQueue") === 1 && proxy.count("sqs:DeleteQueue") === 1);
    assert((await fetch(`${server.endpoint}/?Action=ListQueues`)).status < 500);
  });

  it("elsewhere, no proxy is put before it, and the real service gets no invented key", async () => {
    assertEquals((await given("http://emulator.example:4566")).proxied, false);
    assertEquals(await given("aws"), { options: {}, proxied: false });
  });
});
