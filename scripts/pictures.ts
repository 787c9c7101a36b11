/**
 * Takes the pictures of `docs/dashboard.md`: the dashboard of a small shop, in headless Chromium.
 *
 *     deno task pictures
 *
 * @module
 */
import process from "node:process";
import { chromium } from "playwright-core";
import { Bus } from "../mod.ts";
import { pause } from "../src/internal/time.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { RedisServer } from "../tests/support/redis_server.ts";
import { tool } from "../tests/support/tools.ts";
import { openDashboard } from "../ui/mod.ts";

const FOLDER = new URL("../docs/", import.meta.url).pathname;
/** Milliseconds in which the charts fill. */
const FILL = 40_000;
const QUEUES = { invoices: 31, mails: 218, orders: 84, parcels: 7, refunds: 0, thumbnails: 1_312, webhooks: 46 };
const CAUSES = ["the mail server is away", "the address has no domain", "the mail server is away"];

await using server = await RedisServer.start();
const provider = redis({ url: server.url });
await using bus = await Bus.open(provider, { namespace: "shop" });
bus.addEventListener("error", () => {}); // the handler below throws
for (const [name, count] of Object.entries(QUEUES)) {
  for (let id = 0; id < count; id++) void bus.queue(name).put({ id, customer: `customer-${id % 17}`, total: 12.5 });
}
await bus.queue("refunds").put({ id: 1 }, { delay: 900_000 });
for (const [id, cause] of CAUSES.entries()) {
  await bus.queue("letters").put({ id, to: `customer-${id}@example.com` }, { headers: { tenant: "acme" } });
  const consumer = bus.queue("letters").consume(() => {
    throw new Error(cause);
  }, { maxAttempts: 1 });
  while (await bus.queue("letters").dead.size() <= id) await pause(10);
  await consumer.close();
}
await bus.expose("price", (id: number) => id);
await bus.expose("stock", (id: number) => id);
await bus.subscribe("shop.orders", () => {}).ready;
bus.queue("thumbnails").consume(() => pause(200), { concurrency: 4 });
await bus.subscribe("shop.prices", () => pause(20), { group: "billing", concurrency: 2 }).ready;

await using dashboard = await openDashboard(provider, { namespace: "shop", title: "redis://localhost", interval: 500 });
const ended = new AbortController();
const publishing = (async () => {
  for (let i = 0; !ended.signal.aborted; i++) {
    const count = 20 + Math.round(8 * Math.sin(i / 30) + 6 * Math.random());
    for (let j = 0; j < count; j++) void bus.publish({ id: i }, j % 4 === 0 ? "shop.prices" : "shop.orders");
    if (i % 3 === 0) void bus.queue("orders").put({ id: i });
    await pause(50);
  }
})();
const browser = await chromium.launch({ executablePath: tool("chromium") });
const views = { light: "#/queues", dark: "#/queues/letters/dead" } as const;
await Promise.all(
  Object.entries(views).map(async ([scheme, view]) => {
    const page = await browser.newPage({
      colorScheme: scheme as keyof typeof views,
      viewport: { width: 1100, height: scheme === "dark" ? 800 : 680 },
    });
    await page.goto(dashboard.url + view);
    await pause(FILL);
    if (scheme === "dark") await page.locator("summary").first().click();
    await page.screenshot({ path: `${FOLDER}dashboard-${scheme}.png` });
  }),
);
await browser.close();
ended.abort();
await publishing;
await dashboard.close();
await bus.close();
await server.stop();
process.exit(0);
