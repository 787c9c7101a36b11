/** No secret is in anything that a program prints: a provider, a bus, an error and its causes, a log record, a span, the doctor's output. */
// run: on deno
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { inspect } from "node:util";
import { Bus, type BusOptions, type LogRecord, memory, type Provider, ProviderError, ValidationError } from "../mod.ts";
import { aws } from "../src/providers/aws/provider.ts";
import { redis, type RedisOptions } from "../src/providers/redis/provider.ts";
import { tsmq } from "./cli/run.ts";
import { freePort } from "./support/port.ts";
import { RedisServer } from "./support/redis_server.ts";
import { until } from "./support/until.ts";
import { recorded, register, unregister } from "./telemetry/sdk.ts";

const CANARY = `canary-${crypto.randomUUID()}`;

/** Everything that a console, a logger or a collector of errors can make of a value. */
function printed(value: unknown, seen = new Set<unknown>()): string {
  if (typeof value !== "object" || value === null || seen.has(value)) return String(value);
  seen.add(value);
  const parts = [inspect(value, { depth: Infinity }), inspect(value, { getters: true })];
  if ("Deno" in globalThis) parts.push(Deno.inspect(value, { depth: 20 }));
  try {
    parts.push(JSON.stringify(value) ?? "");
  } catch {
    // it refers to itself
  }
  const shown = [...Reflect.ownKeys(value), ...value instanceof Error ? ["message", "stack", "cause", "errors"] : []]
    .filter((key) => value instanceof Error || Object.prototype.propertyIsEnumerable.call(value, key));
  for (const key of shown) parts.push(String(key), printed((value as Record<PropertyKey, unknown>)[key], seen));
  return parts.join("\n");
}

function assertSecret(value: unknown, what: string): void {
  const text = printed(value);
  const at = text.indexOf(CANARY);
  assert(at < 0, `${what} contains the secret: …${text.slice(Math.max(0, at - 200), at + 50)}`);
}

/** Starts a server on a free port. */
async function listening(server: Server): Promise<{ port: number } & AsyncDisposable> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

/** Returns the password with which a client of Redis logs in, if it does so in these bytes. */
function passwordIn(bytes: string): string | undefined {
  const words = bytes.split("\r\n").filter((line) => !/^[*$]\d/.test(line));
  const at = words.findIndex((word) => word.toLowerCase() === "auth");
  return at < 0 ? undefined : words.slice(at + 1).find((word) => word.includes("canary"));
}

/** Servers whose replies quote the login. */
const QUOTING: Record<string, () => Promise<{ port: number } & AsyncDisposable>> = {
  "does not know AUTH": () => RedisServer.start({ args: ["--rename-command", "AUTH", ""] }),
  "quotes the password": () =>
    listening(createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        const password = passwordIn(String(bytes));
        const text = password
          ? `ERR no backend for ${password} and ${JSON.stringify(password)}`
          : "NOAUTH log in first";
        socket.write(`-${text}\r\n`.repeat(String(bytes).match(/^\*/gm)?.length ?? 1));
      });
    })),
  "is no server of Redis": () =>
    listening(createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes) => void socket.write(`you sent ${bytes}`));
    })),
};

describe("a secret", () => {
  let server: RedisServer;
  beforeAll(async () => void (server = await RedisServer.start({ password: "right" })));
  afterAll(() => server.stop());

  it("is not in a printed provider", async () => {
    const node = { host: "one", port: 1 };
    const tls = { key: CANARY, passphrase: CANARY };
    const providers: Record<string, Provider> = {
      "a password": redis({ password: CANARY, username: "me" }),
      "a URL": redis({ url: `rediss://me:${CANARY}@one:7/3` }),
      "the URL of a node": redis({ cluster: [`redis://me:${CANARY}@one:7`] }),
      "a function": redis({ credentials: () => ({ password: CANARY }) }),
      "a private key": redis({ tls }),
      Sentinels: redis({ sentinels: [node], name: "m", sentinelPassword: CANARY, sentinelTls: tls }),
      "an access key": aws({
        credentials: { accessKeyId: "id", secretAccessKey: CANARY, sessionToken: CANARY },
        client: { token: { token: CANARY } },
      }),
      "a function of AWS": aws({ credentials: () => ({ accessKeyId: "id", secretAccessKey: CANARY }) }),
    };
    for (const [what, provider] of Object.entries(providers)) {
      assertSecret(provider, what);
      assertSecret({ ...provider }, `a copy with ${what}`);
      if (!what.includes("function")) {
        const answer = await provider.askHandler!.answer("settings", undefined);
        assert(JSON.stringify(answer).includes(CANARY), `the worker gets ${what}`);
      }
    }
  });

  const refused: Record<string, (port: number) => RedisOptions> = {
    "a server": (port) => ({ port, password: CANARY }),
    "a server with ACLs": (port) => ({ url: `redis://me:${CANARY}@127.0.0.1:${port}` }),
    "a function": (port) => ({ port, credentials: () => ({ username: "me", password: CANARY }) }),
    "a Cluster": (port) => ({ cluster: [`redis://:${CANARY}@127.0.0.1:${port}`] }),
    "a Sentinel": (port) => ({ sentinels: [{ host: "127.0.0.1", port }], name: "m", sentinelPassword: CANARY }),
  };
  async function assertRefused(options: RedisOptions): Promise<string> {
    const records: LogRecord[] = [];
    const log: BusOptions = { log: (record) => void records.push(record), connectTimeout: 5_000 };
    const provider = redis(options);
    const error = await assertRejects(() => Bus.open(provider, log), ProviderError);
    assertSecret(error, "the error of a bus");
    const context = {
      namespace: "n",
      connectTimeout: 5_000,
      sendTimeout: 5_000,
      maxReceive: Infinity,
      ask: () => Promise.reject(new Error("nothing to ask")),
      state: (_: boolean, error?: unknown) => assertSecret(error, "the state"),
    };
    assertSecret(await assertRejects(() => provider.open(context), ProviderError), "the error of a sender");
    assertSecret(records, "the log");
    const admin = await redis(options).admin!.open("n");
    assertSecret(await Array.fromAsync(admin.checks()), "the doctor's output");
    await admin.close();
    return error.message;
  }

  for (const [what, options] of Object.entries(refused)) {
    it(`is not in an error, a log record or the doctor's output when ${what} refuses it`, async () => {
      await assertRefused(options(server.port));
    });
    for (const [does, start] of Object.entries(QUOTING)) {
      it(`is not in them when ${what} ${does}`, async () => {
        await using quoting = await start();
        const message = await assertRefused(options(quoting.port));
        const said = {
          "does not know AUTH": /ERR unknown command 'auth'/i,
          "quotes the password": /ERR no backend for \*\*\*/,
        };
        assertMatch(message, said[does as keyof typeof said] ?? /./);
      });
    }
  }

  it("is not in the reports of a bus whose server has refused it", async () => {
    await server.run("acl", "setuser", "me", "on", `>${CANARY}`, "~*", "&*", "+@all");
    const records: LogRecord[] = [];
    const provider = redis({ port: server.port, username: "me", password: CANARY, retry: { min: 10, max: 20 } });
    await using bus = await Bus.open(provider, { log: (record) => void records.push(record), sendTimeout: 500 });
    const heard: unknown[] = [];
    for (const type of ["error", "state", "gap"]) bus.addEventListener(type, (event) => heard.push(event));
    await server.run("acl", "setuser", "me", "resetpass", ">other");
    await server.run("client", "kill", "user", "me");
    await until("the bus is down", () => bus.health().state === "down");
    register();
    await until("an error has the reason", async () => {
      const error = await assertRejects(() => bus.publish("x", "t"), ProviderError);
      assertSecret(error, "the error of a publish");
      return error.message.includes("WRONGPASS");
    });
    const telemetry = await recorded();
    await unregister();
    assertEquals(telemetry.spans[0]?.attributes["error.type"], "unavailable");
    assertSecret([records, heard, bus, bus.health(), telemetry], "a report");
  });

  it("of a key appears in nothing that a bus prints, reports or refuses", async () => {
    for (const encrypt of [false, true]) {
      const records: LogRecord[] = [];
      const keys = [{ id: "k", secret: CANARY }];
      const provider = memory();
      const options: BusOptions = { keys, encrypt, log: (record) => void records.push(record) };
      await using bus = await Bus.open(provider, options);
      await using other = await Bus.open(provider, { keys: [{ id: "k", secret: `${CANARY} other` }], encrypt });
      const heard: unknown[] = [];
      for (const type of ["error", "state"]) bus.addEventListener(type, (event) => heard.push(event));
      const subscription = bus.subscribe("t", () => {});
      await subscription.ready;
      await bus.expose("f", () => {
        throw new Error("no");
      });
      await other.publish("x", "t");
      await until("it is refused", () => heard.length > 0);
      const error = await assertRejects(() => bus.stub("f")());
      assertSecret([records, heard, error, bus, other, subscription, bus.health(), bus.queue("q"), provider], "a bus");
    }
    const bad: unknown[] = [
      { keys: CANARY },
      { keys: [CANARY] },
      { keys: { secret: CANARY } },
      { keys: [{ id: CANARY.repeat(9), secret: CANARY }] },
      { keys: [{ id: `${CANARY} `, secret: CANARY }] },
      { keys: [{ id: "k", secret: { CANARY } }] },
      { keys: [{ id: "k", secret: `${CANARY}\ud800` }] },
      { keys: [{ id: "k", secret: CANARY }, { id: "k", secret: CANARY }] },
      { keys: [{ id: "k", secret: CANARY, more: CANARY }] },
      { keys: [{ id: "k", secret: CANARY }], encrypt: CANARY },
    ];
    for (const options of bad) {
      assertSecret(await assertRejects(() => Bus.open(memory(), options as BusOptions), ValidationError), "the error");
    }
  });

  it("is not in the errors of AWS", async () => {
    const credentials = { accessKeyId: "id", secretAccessKey: CANARY, sessionToken: CANARY };
    const provider = aws({ endpoint: `http://127.0.0.1:${await freePort()}`, region: "eu-central-1", credentials });
    const error = await assertRejects(() => Bus.open(provider, { connectTimeout: 2_000 }), ProviderError);
    assertSecret(error, "the error");
  });

  it("is not in the errors of AWS when its answer quotes the request", async () => {
    const first = "The request signature we calculated does not match the signature you provided.";
    const answers: Record<string, (token: string) => string> = {
      "the request": (token) =>
        `${first}\n\nThe Canonical String for this request should have been\n'POST\n/\n\n${token}'`,
      "the token": (token) => `${first} x-amz-security-token: ${token}`,
    };
    for (const [what, answer] of Object.entries(answers)) {
      await using server = await listening(createHttpServer((request, response) => {
        const message = answer(String(request.headers["x-amz-security-token"]));
        const json = request.headers["content-type"]?.includes("json");
        response.writeHead(403, { "content-type": json ? "application/x-amz-json-1.0" : "text/xml" }).end(
          json
            ? JSON.stringify({ __type: "com.amazon.coral.service#SignatureDoesNotMatch", message })
            : `<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>${message}</Message>` +
              "</Error></ErrorResponse>",
        );
      }));
      const credentials = { accessKeyId: "id", secretAccessKey: CANARY, sessionToken: CANARY };
      const provider = aws({ endpoint: `http://127.0.0.1:${server.port}`, region: "eu-central-1", credentials });
      const records: LogRecord[] = [];
      const log = (record: LogRecord) => void records.push(record);
      const error = await assertRejects(() => Bus.open(provider, { log }), ProviderError);
      assertStringIncludes(error.message, first);
      const admin = await provider.admin!.open("n");
      assertSecret([error, records, await Array.fromAsync(admin.checks())], `an error that quotes ${what}`);
      await admin.close();
    }
  });

  it("is not in the output of the command line, and need not be among its arguments", async () => {
    const env = { TSMQ_TEST_URL: `redis://:${CANARY}@127.0.0.1:${server.port}` };
    const denied = await tsmq(["pub", "env:TSMQ_TEST_URL", "t", "1"], { env });
    assertEquals(denied.code, 6);
    const doctor = await tsmq(["doctor", "env:TSMQ_TEST_URL", "--json"], { env });
    assertEquals(doctor.code, 1);
    assertSecret([denied, doctor], "the output");
  });
});
