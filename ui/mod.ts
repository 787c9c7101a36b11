/**
 * The dashboard: a local web page that shows the current state of a namespace, and where users can read, retry and purge items. `tsmq ui`
 * opens it too.
 *
 * ```ts ignore
 * import { openDashboard } from "@tsmq/tsmq/ui";
 * import { redis } from "@tsmq/tsmq/redis";
 *
 * await using dashboard = await openDashboard(redis({ url: "redis://localhost" }));
 * console.log(dashboard.url); // open it in a browser
 * ```
 *
 * @module
 */
import { Bus, type BusOptions } from "../mod.ts";
import type { Provider } from "../src/provider/provider.ts";
import { SCRIPT, STYLE } from "./assets.ts";
import { Monitor } from "./monitor.ts";
import type { Action } from "./protocol.ts";
import { type Answer, Refusal, Site } from "./server.ts";
import { Source } from "./source.ts";

/** The largest number of items in one request. */
const MAX_ITEMS = 100;

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>tsmq</title>
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="page.css">
<script type="module" src="page.js"></script>
</head>
<body><noscript>The dashboard needs JavaScript.</noscript></body>
</html>
`;

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="4" fill="#1d6fc4"/>
<path d="M4 5h8M4 8h8M4 11h5" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/>
</svg>
`;

/** Options of {@linkcode openDashboard}, including the namespace that it shows and its keys. */
export interface DashboardOptions extends Pick<BusOptions, "namespace" | "keys" | "encrypt"> {
  /** The address or host name to listen on; the URL has the address. Default `"127.0.0.1"`: only this machine can reach it. */
  readonly host?: string;
  /** The port to listen on. Default 0: a free port. */
  readonly port?: number;
  /** The least number of milliseconds between two samples. A large namespace is sampled less often. Default 1,000. */
  readonly interval?: number;
  /** The name of the transport that the page shows. Default: the name of the provider. */
  readonly title?: string;
}

/** A dashboard that is open. */
export interface Dashboard extends AsyncDisposable {
  /** The address of the page. It contains a token that is new for each dashboard; a request without it is refused. */
  readonly url: string;
  /** Closes the dashboard. A running retry or purge finishes first. */
  close(): Promise<void>;
}

/** Opens a dashboard. It reads from the transport only while its page is open. */
export async function openDashboard(provider: Provider, options: DashboardOptions = {}): Promise<Dashboard> {
  const { namespace = "global", keys, encrypt } = options;
  const { host = "127.0.0.1", port = 0, interval = 1_000, title = provider.name } = options;
  await using resources = new AsyncDisposableStack();
  const bus = resources.use(await Bus.open(provider, { namespace, keys, encrypt, waitOnFirstConnect: false }));
  const admin = await provider.admin?.open(namespace);
  resources.defer(async () => await admin?.close());
  const source = new Source(bus, admin, interval);
  const monitor = resources.use(new Monitor(source, { transport: title, namespace, interval }));
  bus.addEventListener("error", ({ topic, message }) => {
    monitor.report("error", topic ? `${topic}: ${message}` : message);
  });
  bus.addEventListener("gap", ({ detail: { reason, lost, topic = "all topics" } }) => {
    monitor.report("gap", `${topic}: ${reason}${lost ? `, ${lost} events lost` : ""}`);
  });
  bus.addEventListener(
    "state",
    ({ detail }) => monitor.report("state", `The connection to the transport is ${detail}`),
  );
  const site = resources.use(
    await Site.listen(host, port, {
      answers: {
        "GET ": () => ({ type: "text/html", body: PAGE }),
        "GET page.js": () => ({ type: "text/javascript", body: SCRIPT }),
        "GET page.css": () => ({ type: "text/css", body: STYLE }),
        "GET icon.svg": () => ({ type: "image/svg+xml", body: ICON }),
        "GET items": async ({ parameters }) => json(await source.items(...range(parameters))),
        "GET letters": async ({ parameters }) => json(await source.letters(...range(parameters))),
        "POST actions": ({ body }) => {
          monitor.start(actionOf(body));
          return { ...json({}), status: 202 };
        },
      },
      streams: { live: (send) => monitor.watch(send) },
    }),
  );
  const open = resources.move();
  const close = () => open.disposeAsync();
  return { url: site.url, close, [Symbol.asyncDispose]: close };
}

function json(value: unknown): Answer {
  return { type: "application/json", body: JSON.stringify(value) };
}

function range(parameters: URLSearchParams): [queue: string, offset: number, limit: number] {
  const [offset, limit] = ["offset", "limit"].map((name) => Number(parameters.get(name))) as [number, number];
  if (!(Number.isInteger(offset) && offset >= 0 && Number.isInteger(limit) && limit > 0 && limit <= MAX_ITEMS)) {
    throw new Refusal(400, "Cannot read items: offset or limit is not a usable number");
  }
  return [queueOf(parameters.get("queue")), offset, limit];
}

function queueOf(name: unknown): string {
  if (typeof name === "string" && name !== "") return name;
  throw new Refusal(400, "Cannot find a queue: the request names none");
}

function actionOf(body: string): Action {
  let action: Partial<Record<keyof Action, unknown>> | null;
  try {
    action = JSON.parse(body);
  } catch (cause) {
    throw new Refusal(400, `Cannot read the request: ${(cause as Error).message}`);
  }
  const { action: what, queue, key } = action ?? {};
  if (
    (what !== "retry" && what !== "purge-dead" && what !== "purge") || (key !== undefined && typeof key !== "string")
  ) {
    throw new Refusal(400, "Cannot act: unknown action");
  }
  return { action: what, queue: queueOf(queue), key };
}
