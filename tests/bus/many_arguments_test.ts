/** A caller cannot choose how much stack a served function has: the number of arguments is limited. */
// run: on bun
import { assertEquals, assertRejects } from "@std/assert";
import { beforeAll, describe, it } from "@std/testing/bdd";
import { Bus, memory, procedure, RemoteInvocationError, ValidationError } from "../../mod.ts";
import type { Core } from "../../src/core.ts";
import { Work } from "../../src/internal/work.ts";
import { exposures } from "../../src/rpc/exposure.ts";
import { Server } from "../../src/rpc/server.ts";
import { schema } from "../support/schema.ts";
import { fresh } from "./grounds.ts";
import { serverCore } from "./server_core.ts";

const REFUSED = 'Cannot accept the arguments of "fn": there are 1001, and at most 1000 are allowed';
const many = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Sends a request to a server, from a bus or from PyMQ. Returns its answer, and how often the schema and the function ran. */
async function ask(args: unknown[], from: "tsmq" | "PyMQ", output?: (args: unknown[]) => unknown[]) {
  const answers: string[] = [];
  const take = (_: string, text: string) => Promise.resolve(answers.push(text) > 0);
  const core = { ...serverCore(take), sender: { replies: { put: take } } } as unknown as Core;
  const server = new Server(core, () => undefined);
  let [validated, ran] = [0, 0];
  const check = schema((value) => {
    validated++;
    return { value: output!(value as unknown[]) };
  });
  const fn = (...args: unknown[]) => args.length + 0 * ++ran;
  for (const exposure of exposures(output ? procedure("fn", { args: check }) : "fn", fn, {}, [])) {
    await server.expose(exposure);
  }
  const request = from === "tsmq"
    ? ["fn", "", args, {}, { id: crypto.randomUUID(), inbox: "caller", deadline: Date.now() + 60_000 }]
    : ["fn", `__rpc_${crypto.randomUUID()}`, args, {}];
  server.handleRequest(request, 100);
  await Promise.all([core.handlers.idle(), server.idle()]);
  await server.stop();
  const { __obj: [, result, type, isError, call] } = JSON.parse(answers[0]!);
  return { result, type, isError, invalid: call?.invalid, validated, ran };
}

describe("A call with more than 1,000 arguments", () => {
  beforeAll(() => Work.load());

  for (const from of ["tsmq", "PyMQ"] as const) {
    const invalid = from === "tsmq" ? true : undefined;
    const refused = { result: [REFUSED], type: "ValidationError", isError: true, invalid, ran: 0 };

    it(`from ${from} is refused by its server, before and after a schema`, async () => {
      assertEquals(await ask(many(1_001), from), { ...refused, validated: 0 });
      assertEquals(await ask(many(1_001), from, () => [1]), { ...refused, validated: 0 });
      assertEquals(await ask([1], from, () => many(1_001)), { ...refused, validated: 1 });
    });

    it(`from ${from} runs if there are not more`, async () => {
      const ran = { result: 1_000, isError: false, ran: 1 };
      for (const output of [undefined, (args: unknown[]) => args]) {
        const { result, isError, ran: runs } = await ask(many(1_000), from, output);
        assertEquals({ result, isError, ran: runs }, ran);
      }
    });
  }

  it("is refused by its caller, which sends nothing", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    let ran = 0;
    await bus.expose("fn", () => void ran++);
    const args = many(1_001);
    const calls = {
      single: () => bus.stub("fn")(...args),
      multi: () => bus.stub("fn", { multi: true })(...args),
      raw: () => bus.stub("fn").rpc(...args),
      stream: async () => await bus.stream("fn")(...args)[Symbol.asyncIterator]().next(),
    };
    for (const [name, call] of Object.entries(calls)) {
      const error = await assertRejects<Error>(call, ValidationError, REFUSED, name);
      assertEquals((error as ValidationError).part, "arguments", name);
    }
    assertEquals(ran, 0);
  });

  it("is an error of code invalid if only the output of its server's schema has so many", async () => {
    await using bus = await Bus.open(memory(), { namespace: fresh() });
    const grows = schema(() => ({ value: many(1_001) }));
    await bus.expose(procedure("fn", { args: grows }), () => 1);
    const error = await assertRejects(() => bus.stub("fn")(1), RemoteInvocationError);
    assertEquals([error.code, error.message], [
      "invalid",
      'Cannot call "fn": the server refused the arguments: there are 1001, and at most 1000 are allowed',
    ]);
  });
});
