/**
 * A service and its callers, with a contract that both share.
 *
 *     deno task install && deno run -A examples/service.ts [url]
 *
 * This process is the caller. It starts two servers as processes.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { providerFor } from "../cli/mod.ts";
import { Bus, NoSuchRemoteError, procedure, type RemoteInvocationError, ValidationError } from "../mod.ts";
import { ownTransport } from "./providers.ts";

// The contract, usually in a module that the service and its callers import. It gives both sides their types and checks.
const Money = v.object({ amount: v.number(), currency: v.picklist(["EUR", "USD"]) });
const convert = procedure("shop.convert", { args: v.tuple([Money, v.picklist(["EUR", "USD"])]), returns: Money });
const whoAmI = procedure<() => string>("shop.whoAmI");

/** A class whose methods are served. A caller needs only its types and its `static topic`. */
class Clerk {
  static readonly topic = "shop.Clerk";
  #visits = 0;
  greet(customer: string): string {
    this.#visits++;
    return `hello ${customer}`;
  }
  visits(): number {
    return this.#visits;
  }
}

const [given, space = `service-${crypto.randomUUID()}`, role = "caller"] = process.argv.slice(2);

async function serve(bus: Bus): Promise<void> {
  bus.addEventListener("error", () => {}); // a service logs the errors of its functions; here the caller prints them
  await bus.expose(convert, ({ amount, currency }, to) => {
    if (amount < 0) throw new RangeError("we lend no money");
    const rate = currency === to ? 1 : to === "USD" ? 1.25 : 0.8;
    return { amount: amount * rate, currency: to };
  });
  await bus.expose(whoAmI, () => role);
  await bus.expose(new Clerk(), "greet"); // this method only; without a name, all of them
  const closing = Promise.withResolvers<void>();
  await bus.subscribe("shop.closing", () => closing.resolve()).ready;
  console.log(`${role} serves`);
  await closing.promise; // then the bus closes, and running calls have five seconds to finish
}

async function call(bus: Bus, url: string): Promise<void> {
  const servers = ["Ada", "Bo"].map((name) => start(name, url, bus.namespace));
  await Promise.all(servers.map((server) => server.ready));

  const dollars = await bus.stub(convert)({ amount: 8, currency: "EUR" }, "USD");
  console.log(`8 EUR are ${dollars.amount} ${dollars.currency}`);

  console.log(await bus.stub(Clerk).greet("Eve"));

  // a single call runs on one server, round-robin; a multi-call runs on all
  const ask = bus.stub(whoAmI);
  console.log(`called in turn: ${[await ask(), await ask()].sort().join(", ")}`);
  const all = await bus.stub(whoAmI, { multi: true })();
  console.log(
    `called at once: ${all.map((one) => one.status === "fulfilled" ? one.value : one.reason).sort().join(", ")}`,
  );

  // every failure is a typed error
  const wrong = bus.stub(convert)({ amount: 1, currency: "PLN" as "EUR" }, "USD");
  await wrong.catch((error) => console.log(`never sent: ${error instanceof ValidationError}`));
  const refused = bus.stub(convert)({ amount: -1, currency: "EUR" }, "USD");
  await refused.catch((error: RemoteInvocationError) =>
    console.log(`refused: ${error.remoteType}, ${error.remoteArgs}`)
  );

  await bus.publish({}, "shop.closing");
  await Promise.all(servers.map((server) => server.ended));
  await ask().catch((error) => console.log(`no server, rejected at once: ${error instanceof NoSuchRemoteError}`));
}

/** Starts this file in another process, as a server, which prints a line when it serves. */
function start(name: string, url: string, namespace: string): { ready: Promise<void>; ended: Promise<void> } {
  const runtime = "Deno" in globalThis ? ["run", "-A"] : ["run"];
  const args = [...runtime, fileURLToPath(import.meta.url), url, namespace, name];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [ready, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  child.stdout.on("data", () => ready.resolve());
  child.on("exit", () => {
    ready.reject(new Error(`${name} ended`));
    ended.resolve();
  });
  return { ready: ready.promise, ended: ended.promise };
}

await using transport = given === undefined ? await ownTransport() : undefined;
const url = given ?? transport!.url;
await using bus = await Bus.open(await providerFor(url), { namespace: space });
await (role === "caller" ? call(bus, url) : serve(bus));
