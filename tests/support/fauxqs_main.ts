/**
 * The emulator fauxqs without its HTTP server: that one takes three quarters of the CPU of a request, and of the start, because it runs on
 * Deno's copy of Node's server.
 */
import process from "node:process";
import { say, told } from "./peer_side.ts";

/** A request, as the code of fauxqs reads it. */
interface Asked {
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: unknown;
}

/** An answer, as the code of fauxqs writes it. */
interface Reply {
  status(code: number): void;
  header(name: string, value: string): void;
}

interface Router {
  register(action: string, run: unknown): void;
  handle(asked: Asked, reply: Reply): Promise<unknown>;
}

type Module = Readonly<Record<string, unknown>>;
type Class = new (...stores: unknown[]) => unknown;

const ROOT = import.meta.resolve("fauxqs");
const load = (path: string): Promise<Module> => import(new URL(path, ROOT).href);

/** Returns the router of a service, with its actions: each function in this folder has the name of its action. */
async function routerOf(service: "sqs" | "sns", name: string, ...stores: unknown[]): Promise<Router> {
  const router = new ((await load(`${service}/${service}Router.js`))[name] as Class)(...stores) as Router;
  const files = [...Deno.readDirSync(new URL(`${service}/actions/`, ROOT))].filter((file) => file.name.endsWith(".js"));
  const modules = await Promise.all(files.map((file) => load(`${service}/actions/${file.name}`)));
  for (const [action, run] of modules.flatMap((actions) => Object.entries(actions))) {
    router.register(action[0]!.toUpperCase() + action.slice(1), run);
  }
  return router;
}

const [{ SqsStore }, { SnsStore }] = await Promise.all(["sqs/sqsStore.js", "sns/snsStore.js"].map(load)) as [
  Module,
  Module,
];
// the URLs of its queues have the host and the port that the client has used
const queues = Object.assign(new (SqsStore as Class)() as object, { host: "127.0.0.1" });
const [sqs, sns] = await Promise.all([
  routerOf("sqs", "SqsRouter", queues),
  routerOf("sns", "SnsRouter", new (SnsStore as Class)(), queues),
]);

async function answer({ headers }: Request, body: string): Promise<Response> {
  const answered = new Headers();
  let status = 200;
  const reply: Reply = {
    status: (code) => void (status = code),
    header: (name, value) => answered.set(name, value),
  };
  const asked = (body: unknown): Asked => ({ headers: Object.fromEntries(headers), body });
  // SQS speaks JSON, and SNS speaks forms and XML
  const json = headers.get("content-type")?.includes("json");
  const result = json
    ? JSON.stringify(await sqs.handle(asked(JSON.parse(body)), reply))
    : String(await sns.handle(asked(Object.fromEntries(new URLSearchParams(body))), reply));
  return new Response(result, { status, headers: answered });
}

const { addr } = Deno.serve(
  { port: 0, hostname: "127.0.0.1", onListen() {} },
  async (request) => await answer(request, await request.text()),
);
say({ port: addr.port });
for await (const _ of told()); // until the test ends
process.exit();
