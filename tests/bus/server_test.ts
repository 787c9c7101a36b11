// run: on bun
import { assert, assertEquals } from "@std/assert";
import { beforeAll, describe, it } from "@std/testing/bdd";
import type { Core } from "../../src/core.ts";
import { BusError, ProviderError } from "../../src/errors.ts";
import { Work } from "../../src/internal/work.ts";
import { ServedCall } from "../../src/rpc/current_call.ts";
import { exposures } from "../../src/rpc/exposure.ts";
import { Server } from "../../src/rpc/server.ts";
import { pause, until } from "../support/until.ts";
import { serverCore } from "./server_core.ts";

/** A server, and the answers that it has posted. The first posts reject with `errors`. */
function serve(...errors: BusError[]) {
  const answers: { readonly id: string; readonly refused?: string; readonly attempt?: number }[] = [];
  const results: unknown[] = [];
  const core = serverCore((inbox: string, text: string) => {
    if (inbox === "nobody") return Promise.resolve(false);
    const error = errors.shift();
    if (error) return Promise.reject(error);
    const { __obj: answer } = JSON.parse(text);
    answers.push(answer[4]);
    results.push(answer[1]);
    return inbox === "slow" ? pause(10).then(() => true) : Promise.resolve(true);
  });
  const server = new Server(core, () => undefined);
  const expose = async (fn: (name: string) => unknown, concurrency?: number) => {
    for (const exposure of exposures("fn", fn, { concurrency }, [])) await server.expose(exposure);
  };
  const request = (id: string, attempt: number, age?: number, channel = "", inbox = "caller", timeout = 60_000) => {
    const call = { id, inbox, deadline: Date.now() + timeout, attempt, age };
    server.handleRequest(["fn", channel, [inbox], {}, call], 100);
  };
  const idle = () => Promise.all([core.handlers.idle(), server.idle()]);
  return { server, expose, request, answers, results, idle };
}

describe("Server", () => {
  beforeAll(() => Work.load());
  it("does not run an attempt that it has refused when the request arrives again, because the call may be at another server", async () => {
    const { server, expose, request, answers } = serve();
    const id = crypto.randomUUID();
    const ask = (attempt: number, age?: number) => {
      request(id, attempt, age);
      return until("it replies", () => answers.shift()).then((reply) => reply!);
    };
    const gone = await ask(1);
    assertEquals([gone.refused, gone.attempt], ["gone", 1]);
    let runs = 0;
    await expose(() => void runs++);
    assertEquals((await ask(1, 2_000)).refused, "gone");
    assertEquals(runs, 0);
    assertEquals((await ask(2)).refused, undefined);
    assertEquals(runs, 1);
    await server.stop();
  });

  it("runs a call once and answers each of its requests once", async () => {
    const { server, expose, request, answers, idle } = serve();
    let runs = 0;
    await expose(() => ++runs);
    const id = crypto.randomUUID();
    request(id, 1);
    await idle();
    assertEquals([runs, answers.length], [1, 1]);
    request(id, 1, 2_000);
    await idle();
    assertEquals([runs, answers.length], [1, 2]);
    assertEquals(answers[1], answers[0]);
    await server.stop();
  });

  it("reports a refusal that the transport refuses as a rejected message, whose reports are limited", async () => {
    const reports: unknown[] = [];
    const core = serverCore(() => Promise.reject(new ProviderError("too_large", "too large")));
    const report = ({ message }: Error, _: string, rejected = false) => reports.push([message, rejected]);
    const server = new Server({ ...core, report } as unknown as Core, () => undefined);
    const fn = "f".repeat(1_000_000); // a refusal contains it
    for (const id of ["a", "b"]) {
      server.handleRequest([fn, "", [], {}, { id, inbox: "caller", deadline: Date.now() + 60_000 }], 100);
    }
    await server.idle();
    assertEquals(reports, [["too large", true], ["too large", true]]);
  });

  it("does not answer a copy of a signed request, and answers its caller that asks again", async () => {
    const { server, expose, answers, idle } = serve();
    await expose(() => "result");
    const call = { id: "a", inbox: "caller", deadline: Date.now() + 60_000, attempt: 1 };
    const signed = { key: "key", time: Date.now(), nonce: "1", encrypted: false };
    const answered = async (time: number) => {
      server.handleRequest(["fn", "", [""], {}, call], 100, undefined, { ...signed, time });
      await idle();
      return answers.length;
    };
    const { time } = signed;
    const counts: number[] = [];
    for (const at of [time, time, time + 1, time, time + 1, time + 2]) counts.push(await answered(at));
    assertEquals(counts, [1, 1, 2, 2, 2, 3]);
  });

  it("sends no answer again after the deadline", async () => {
    const { server, expose, request, answers, results, idle } = serve();
    await expose(() => "an answer of any size");
    const id = crypto.randomUUID();
    request(id, 1);
    await idle();
    request(id, 1, 2_000, "", "caller", -70_000);
    await idle();
    assertEquals(answers.map(({ refused }) => refused), [undefined, "forgotten"]);
    assertEquals(results, ["an answer of any size", null]);
    await server.stop();
  });

  it("runs a call once though its request comes again while it runs", async () => {
    const { server, expose, request, answers, idle } = serve();
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    await expose(() => {
      runs++;
      return gate.promise;
    });
    const id = crypto.randomUUID();
    request(id, 1);
    request(id, 1, 2_000);
    await server.idle();
    assertEquals(answers.map(({ refused }) => refused), ["running"]);
    gate.resolve();
    await idle();
    assertEquals([runs, answers.length], [1, 2]);
    await server.stop();
  });

  it("refuses no repeated request of a call whose arguments are being validated, because the call may still run", async () => {
    const { server, expose, request, answers, idle } = serve();
    let runs = 0;
    await expose(() => void runs++);
    const id = crypto.randomUUID();
    const validated = server.validating(["fn", "", [], {}, { id, inbox: "caller", deadline: Date.now() + 60_000 }])!;
    server.load.add(Infinity);
    request(id, 1, 2_000);
    await idle();
    assertEquals(answers.map(({ refused }) => refused), ["running"]);
    server.load.remove(Infinity);
    validated();
    request(id, 1);
    await idle();
    assertEquals([runs, answers.length], [1, 2]);
    await server.stop();
  });

  it("does not answer a call whose caller has given up", async () => {
    const { server, expose, request, answers, idle } = serve();
    const gate = Promise.withResolvers<void>();
    let ran = false;
    await expose(() => {
      ran = true;
      return gate.promise;
    });
    const id = crypto.randomUUID();
    request(id, 1);
    server.cancel(id);
    gate.resolve();
    await idle();
    assert(ran);
    assertEquals(answers, []);
    await server.stop();
  });

  it("does not run a call that has waited for its turn, if its caller has died, cancelled it, or given up", async () => {
    const { server, expose, request, answers, idle } = serve();
    const gate = Promise.withResolvers<void>();
    const ran: string[] = [];
    await expose((name) => {
      ran.push(name);
      return gate.promise;
    }, 1);
    request("call 1", 1, undefined, "", "runs");
    request("call 2", 1, undefined, "", "nobody");
    request("call 3", 1, undefined, "", "has a short deadline", 500);
    request("call 4", 1, undefined, "", "cancels");
    request("call 5", 1, undefined, "", "runs later");
    request("call 6", 1, undefined, "", "another clock", -5_000);
    server.cancel("call 4");
    await pause(1_100); // the server asks only for callers that have waited for a second
    gate.resolve();
    await idle();
    assertEquals(ran, ["runs", "runs later", "another clock"]);
    assertEquals(answers.find(({ id }) => id === "call 3")?.refused, "gone");
    await server.stop();
  });

  it("posts an answer again if the transport was not available, or its worker died meanwhile", async () => {
    const { server, expose, request, answers, results, idle } = serve(
      new BusError("worker_died", "its worker died"),
      new BusError("unavailable", "no connection"),
    );
    await expose(() => 1);
    request(crypto.randomUUID(), 1);
    await idle();
    assertEquals(answers.length, 1);
    assertEquals(results, [1]);
    await server.stop();
  });

  it("posts a refusal again if its request was published, because the caller does not publish it again", async () => {
    for (const [channel, posted] of [["", 0], ["__rpc_answers", 1]] as const) {
      const { server, request, answers, idle } = serve(new BusError("unavailable", "no connection"));
      request(crypto.randomUUID(), 1, undefined, channel);
      await idle();
      assertEquals(answers.map(({ refused }) => refused), Array(posted).fill("gone"));
      await server.stop();
    }
  });

  it("refuses calls while those that run or wait take much memory, and serves further ones when they have ended", async () => {
    const { server, expose, answers, idle } = serve();
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    await expose(() => {
      runs++;
      return gate.promise;
    }, 1);
    const request = (bytes: number) => {
      const call = { id: crypto.randomUUID(), inbox: "caller", deadline: Date.now() + 60_000, attempt: 1 };
      server.handleRequest(["fn", "", [], {}, call], bytes);
    };
    for (let i = 0; i < 6; i++) request(128 * 2 ** 20);
    await server.idle();
    assertEquals(answers.map(({ refused }) => refused), ["busy", "busy"]);
    gate.resolve();
    await idle();
    assertEquals(runs, 4);
    request(128 * 2 ** 20);
    await idle();
    assertEquals(runs, 5);
    await server.stop();
  });

  it("does not keep the arguments of a call that has ended", async () => {
    const { server, expose, request, idle } = serve();
    const works: unknown[] = [];
    await expose(() => works.push(Work.current));
    request(crypto.randomUUID(), 1);
    await idle();
    const [work] = works;
    assert(work instanceof ServedCall);
    assertEquals(work.request.args, []);
    await server.stop();
  });

  it("sends the large answers of many calls that end at once", async () => {
    const { server, expose, request, answers } = serve();
    const result = "x".repeat(2 ** 20);
    await expose(() => result);
    for (let i = 0; i < 100; i++) request(crypto.randomUUID(), 1, undefined, "", "slow");
    await until("all are answered", () => answers.length === 100);
    await server.stop();
  });

  it("answers with the error of the transport if it refuses a large answer", async () => {
    const { server, expose, request, results } = serve(new BusError("too_large", "too large"));
    await expose(() => "x".repeat(70 * 2 ** 20));
    request(crypto.randomUUID(), 1);
    assertEquals(await until("it answers", () => results.shift()), ["too large"]);
    await server.stop();
  });

  it("sends the large answers of many callers again after the transport was unreachable", async () => {
    const lost = Array.from({ length: 20 }, () => new BusError("unavailable", "the connection broke"));
    const { server, expose, request, answers } = serve(...lost);
    const result = "x".repeat(5 * 2 ** 20);
    await expose(() => result);
    for (let i = 0; i < lost.length; i++) request(crypto.randomUUID(), 1, undefined, "", `caller ${i}`);
    await until("all are answered", () => answers.length === lost.length);
    await server.stop();
  });

  it("serves other callers while 18,000 answers wait for one that does not take them", async () => {
    const { server, expose, request, answers } = serve();
    let runs = 0;
    await expose(() => ++runs);
    for (const count of [9_000, 18_000]) {
      for (let i = 0; i < 9_000; i++) request(crypto.randomUUID(), 1, undefined, "", "nobody");
      await until("they have run", () => runs === count);
      await pause(0); // until the turn of the handlers has ended
    }
    request(crypto.randomUUID(), 1);
    assertEquals((await until("it answers", () => answers.shift()))?.refused, undefined);
    await server.stop();
  });
});
