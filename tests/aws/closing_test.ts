// run: on bun
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Bus } from "../../mod.ts";
import { aws } from "../../src/providers/aws/provider.ts";
import { Names } from "../../src/providers/aws/names.ts";
import { Admin } from "./admin.ts";
import { itProxied, startEmulator } from "./emulator.ts";
import { fresh } from "./halves.ts";
import { HttpProxy } from "./http_proxy.ts";
import { timed } from "../support/until.ts";

describe("closing a bus", () => {
  it("deletes its queue", async () => {
    await using emulator = await startEmulator();
    using admin = new Admin(emulator.options);
    const namespace = fresh();
    const bus = await Bus.open(aws(emulator.options), { namespace });
    const { busPrefix } = new Names(namespace);
    assertEquals((await admin.queues(busPrefix)).length, 1);
    await bus.close();
    assertEquals(await admin.queues(busPrefix), []);
  });
});

describe("closing a bus of a frozen SNS and SQS", () => {
  itProxied("ends by its deadline, though no step of it gets an answer", async () => {
    await using emulator = await startEmulator();
    await using proxy = await HttpProxy.to(emulator.port);
    const bus = await Bus.open(aws(emulator.through(proxy.port)));
    await bus.subscribe("topic", () => {}).ready;
    await bus.expose("fn", () => {});
    proxy.fault = () => "hang";
    let clean: boolean | undefined;
    const took = await timed(async () => ({ clean } = await bus.close({ timeout: 1_000 })));
    assertEquals(clean, false);
    assert(took < 1_500, `it took ${took} ms`);
  });
});
