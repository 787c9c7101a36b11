// run: on bun
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { Bus } from "../../src/bus.ts";
import { BusError, ProviderError, ValidationError } from "../../src/errors.ts";
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import { freePort } from "../support/port.ts";
import { type Emulator, itProxied, startEmulator } from "./emulator.ts";
import { fresh, open } from "./halves.ts";
import { HttpProxy } from "./http_proxy.ts";
import { within } from "../support/until.ts";

describe("aws()", () => {
  let emulator: Emulator;
  beforeAll(async () => void (emulator = await startEmulator()));
  afterAll(() => emulator.stop());

  it("refuses wrong options, each with its own issue and without quoting secrets", () => {
    const wrong = {
      endpoint: "ftp://x",
      region: "",
      credentials: { accessKeyId: 7, secretAccessKey: "hush" },
      attempts: 0,
      lease: 10,
      poll: 60_000,
      rawDelivery: "yes",
      client: { logger: () => {} },
      unknown: 1,
    };
    const error = assertThrows(() => aws(wrong as unknown as AwsOptions), ValidationError);
    assertEquals(error.issues.map(({ path }) => path?.[0]), Object.keys(wrong));
    assert(!error.message.includes("hush"));
    // only the access key logs in
    for (const endpoint of ["http://user:hush@host", "http://hush@host"]) {
      assert(!assertThrows(() => aws({ endpoint }), ValidationError).message.includes("hush"));
    }
    for (const options of [null, 7, "aws:"]) assertThrows(() => aws(options as unknown as AwsOptions), ValidationError);
  });

  it("has options that can be posted, also with a function for the credentials", () => {
    const credentials = () => ({ accessKeyId: "a", secretAccessKey: "b" });
    const { options } = aws({ credentials, client: { useFipsEndpoint: true } });
    structuredClone(options);
    assert(!JSON.stringify(options).includes("secret"));
  });

  itProxied("a function for the credentials is called on the main thread, for both halves", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    let calls = 0;
    const credentials = () => ({ accessKeyId: `key${++calls}`, secretAccessKey: "b" });
    const provider = aws({ ...emulator.through(proxy.port), credentials });
    await using bus = await Bus.open(provider, { namespace: fresh() });
    await bus.queue("jobs").put("x");
    await bus.queue("jobs").free();
    assert(proxy.seen.every(({ key }) => key.startsWith("key")));
    // a key without an end is kept: one for each client that was used, sending and receiving, SNS and SQS
    assert(calls >= 2 && calls <= 6, `${calls} calls`);
  });

  itProxied("a key that expires is asked for again before it does", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    let calls = 0;
    const credentials = () => ({ accessKeyId: `key${++calls}`, secretAccessKey: "b", expiration: new Date() });
    await using halves = await open({ ...emulator.through(proxy.port), credentials });
    const before = calls;
    await halves.sender.size("none");
    assert(calls > before);
  });

  it("an unreachable server rejects within the connect timeout", async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    const provider = aws({ endpoint, region: "us-east-1", credentials: { accessKeyId: "a", secretAccessKey: "b" } });
    const opening = assertRejects(() => Bus.open(provider, { connectTimeout: 3_000 }), ProviderError);
    assertEquals((await within("it rejects", opening)).code, "unavailable");
  });

  itProxied("a server that never answers rejects within the connect timeout", async () => {
    await using proxy = await HttpProxy.to(emulator.port);
    proxy.fault = () => "hang";
    const opening = assertRejects(() => open(emulator.through(proxy.port), { connectTimeout: 500 }), ProviderError);
    assertEquals((await within("it rejects", opening)).code, "unavailable");
  });

  it("credentials that cannot be fetched reject", async () => {
    const credentials = () => Promise.reject(new Error("the vault is closed"));
    const provider = aws({ ...emulator.options, credentials });
    const error = await assertRejects(() => Bus.open(provider, { connectTimeout: 3_000 }), BusError);
    assert(/the vault is closed/.test(error.message), error.message);
  });
});
