// run: on bun, deadline 300, because it starts a browser
/** The dashboard's page in a real browser: headless Chromium, driven by Playwright. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import process from "node:process";
import { type Browser, chromium, type Page } from "playwright-core";
import { Bus } from "../../mod.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { type Dashboard, openDashboard } from "../../ui/mod.ts";
import { RedisServer } from "../support/redis_server.ts";
import { itNeeds } from "../support/skip.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { missing, tool } from "../support/tools.ts";
import { until } from "../support/until.ts";

const it = itNeeds(missing("chromium", "redis-server"));
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const HOSTILE = `<img src=x onerror="alert(1)"><script>alert(2)</script>\x1b[2J\u202e`;
const ESCAPED = `<img src=x onerror="alert(1)"><script>alert(2)</script>\\u001b[2J\\u202e`;
describe("the dashboard's page", () => {
  let server: RedisServer;
  let browser: Browser;
  let provider: Provider;
  let bus: Bus;
  let dashboard: Dashboard;
  let page: Page;
  /** Faults of any page: errors on its console, dialogs, requests to elsewhere. */
  const faults: string[] = [];

  beforeAll(async () => {
    if (missing("chromium", "redis-server")) return;
    [server, browser] = await Promise.all([
      RedisServer.start(),
      chromium.launch({ executablePath: tool("chromium") }),
    ]);
    provider = redis({ url: server.url });
    bus = await Bus.open(provider, { namespace: "shop" });
    bus.addEventListener("error", () => {});
    dashboard = await openDashboard(provider, { namespace: "shop", title: "redis://localhost", interval: 100 });
    page = await open();
  });
  afterAll(async () => {
    await browser?.close();
    await dashboard?.close();
    await bus?.close();
    await server?.stop();
  });

  async function open(scheme: "light" | "dark" = "light", url = dashboard.url): Promise<Page> {
    const page = await browser.newPage({ colorScheme: scheme, viewport: { width: 1180, height: 720 } });
    page.on("console", (message) => void (message.type() === "error" && faults.push(message.text())));
    page.on("pageerror", (error) => void faults.push(error.message));
    page.on("dialog", (dialog) => void faults.push(`a dialog: ${dialog.message()}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(url)) faults.push(`a request to ${request.url()}`);
    });
    await page.goto(url);
    return page;
  }

  /** The cells of a queue in the table: its four counts, then its traffic. */
  async function cells(name: string): Promise<string[]> {
    const row = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name, exact: true }) });
    return await row.getByRole("cell").allInnerTexts();
  }

  async function shows(name: string, ...counts: string[]): Promise<void> {
    await until(
      `the page shows ${name} with ${counts}`,
      async () => (await cells(name)).slice(0, 4).join() === counts.join(),
    );
  }

  async function deadLetters(queue: string, count: number): Promise<void> {
    const jobs = bus.queue(queue);
    for (let i = 0; i < count; i++) await jobs.put({ id: i, note: HOSTILE }, { headers: { tenant: "acme" } });
    const consumer = jobs.consume(() => {
      throw new Error(`cannot print ${HOSTILE}`);
    }, { maxAttempts: 1 });
    await until("they are dead letters", async () => await jobs.dead.size() === count);
    await consumer.close();
  }

  it("loads, and shows queues and events while they change", async () => {
    const orders = bus.queue("orders");
    await orders.put(1);
    await shows("orders", "1", "0", "0", "0");
    await orders.put(2);
    await orders.put(3, { delay: 600_000 });
    await shows("orders", "2", "0", "1", "0");
    const rate = page.getByRole("region", { name: "Totals" }).getByRole("definition").first();
    const publishing = setInterval(() => void bus.publish({ price: 1 }, "prices").catch(() => {}), 20);
    await until("a rate is shown", async () => parseFloat(await rate.innerText()) > 0)
      .finally(() => clearInterval(publishing));
    await page.getByRole("img", { name: /Events and items a second over time/ }).locator("canvas").waitFor();
    await page.getByRole("link", { name: /^Topics/ }).click();
    await page.getByRole("row", { name: /^prices/ }).waitFor();
  });

  it("shows items in and out a second, and the duration of handlers, in the table and for one queue", async () => {
    const busy = bus.queue("busy");
    const consumer = busy.consume(() => new Promise((resolve) => setTimeout(resolve, 20)));
    const putting = setInterval(() => void busy.put(1).catch(() => {}), 10);
    try {
      await page.goto(`${dashboard.url}#/queues`);
      const traffic = (texts: readonly string[]) => texts.every((text) => parseFloat(text) > 0);
      await until("the table shows them", async () => {
        const [puts, out, p50] = (await cells("busy")).slice(4);
        return traffic([puts!, out!, p50!]);
      });
      await page.getByRole("link", { name: "busy", exact: true }).click();
      const numbers = page.getByRole("region", { name: "Numbers" });
      await until("the queue shows them", async () => {
        const terms = await numbers.getByRole("definition").allInnerTexts();
        return terms.length === 8 && traffic(terms.slice(0, 4)); // the fourth is the number of consumers
      });
      await until("both charts are drawn", async () => await numbers.getByRole("img").locator("canvas").count() === 2);
    } finally {
      clearInterval(putting);
      await consumer.close();
      await busy.free();
    }
  });

  it("shows topics, functions with their servers, buses, and the lag of groups", async () => {
    await bus.expose("price", () => 1);
    const member = bus.subscribe("stock", () => {}, { group: "billing" });
    await member.ready;
    await member.unsubscribe();
    await bus.publish({ left: 0 }, "stock");
    await page.getByRole("link", { name: /^Groups/ }).click();
    await page.getByRole("row", { name: "stock billing 1 0 0", exact: true }).waitFor();
    await page.getByRole("link", { name: /^Functions/ }).click();
    await page.getByRole("row", { name: new RegExp(`^price 1 .*${process.pid}`) }).waitFor();
    await page.getByRole("link", { name: /^Buses/ }).click();
    await page.getByRole("cell", { name: String(process.pid), exact: true }).first().waitFor();
  });

  it("retries a dead letter, then all, and asks before it purges", async () => {
    await deadLetters("mails", 4);
    await page.goto(`${dashboard.url}#/queues`);
    await shows("mails", "0", "0", "0", "4");
    await page.getByRole("row", { name: /^mails/ }).getByRole("link", { name: "4" }).click();
    const { dead } = bus.queue("mails");
    await page.getByRole("listitem").filter({ hasText: '{"id":2' }).getByRole("button", { name: "Retry" }).click();
    await until("one is put back", async () => await dead.size() === 3);
    assertEquals((await bus.queue("mails").get({ timeout: 10_000 }) as { id: number }).id, 2);
    await page.getByText("Retry a dead letter of mails", { exact: true }).waitFor();

    await until("it has left the list", async () => await page.getByRole("listitem").count() === 3);
    await page.getByRole("listitem").first().getByRole("button", { name: "Purge" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Purge all" }).click();
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    assertEquals(await dead.size(), 3);
    await page.getByRole("listitem").first().getByRole("button", { name: "Purge" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge dead letter" }).click();
    await until("one is purged", async () => await dead.size() === 2);

    await page.getByRole("button", { name: "Retry all" }).click();
    await page.getByRole("dialog").getByText(/This puts \d items back into the queue/).waitFor();
    assertEquals(await dead.size(), 2);
    await page.getByRole("dialog").getByRole("button", { name: "Retry dead letters" }).click();
    await until("all are put back", async () => await dead.size() === 0 && await bus.queue("mails").qsize() === 2);
    await page.getByRole("link", { name: "Waiting items" }).click();
    await page.getByRole("button", { name: "Purge items" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge items" }).click();
    await until("the queue is empty", async () => await bus.queue("mails").empty());
    await page.getByRole("link", { name: /^Activity/ }).click();
    await page.getByText("Retry dead letters of mails: 2").waitFor();
    await page.getByText(/mails: \d more, the last one: Error: cannot print/).first().waitFor();
  });

  it("shows markup and control characters from the wire as text", async () => {
    await deadLetters(HOSTILE, 1);
    await bus.publish({ [HOSTILE]: HOSTILE }, HOSTILE);
    await bus.expose(HOSTILE, () => {});
    await page.goto(`${dashboard.url}#/queues/${encodeURIComponent(HOSTILE)}/dead`);
    assertEquals(await page.getByRole("heading", { level: 2 }).innerText(), ESCAPED);
    await page.locator("summary").click();
    assertMatch(await page.locator("summary time").getAttribute("datetime") ?? "", /^\d{4}-.*Z$/);
    const item = await page.getByRole("listitem").innerText();
    assert(item.includes(`"note": "${ESCAPED.replaceAll('"', '\\"')}"`), item);
    assert(item.includes(`Error: cannot print ${ESCAPED}`), item);
    for (const view of ["topics", "functions", "queues", "activity"]) {
      await page.goto(`${dashboard.url}#/${view}`);
      await page.getByText(ESCAPED).first().waitFor();
    }
    assertEquals(await page.locator("img, body script").count(), 0);
    assertEquals(faults, []);
  });

  it("asks for items again by itself, but at most for a twentieth of the time", async () => {
    const slow = await browser.newPage();
    // two samples arrive during the first answer, and each answer takes 1,000 s
    await slow.addInitScript(`
      Object.assign(globalThis, { asked: 0, samples: 0, late: 0 });
      const { fetch, EventSource } = globalThis;
      const now = performance.now.bind(performance);
      performance.now = () => now() + late;
      globalThis.EventSource = class extends EventSource {
        constructor(url) {
          super(url);
          this.addEventListener("message", ({ data }) => samples += JSON.parse(data).type === "sample");
        }
      };
      globalThis.fetch = async (url) => {
        const answer = await fetch(url);
        const before = samples;
        while (asked === 0 && samples < before + 2) await new Promise((resolve) => setTimeout(resolve, 10));
        asked++;
        late += 1_000_000;
        return answer;
      };
    `);
    const number = async (what: string) => await slow.evaluate(what) as number;
    await slow.goto(`${dashboard.url}#/queues/orders`);
    await until("it has the items", async () => await number("asked") > 0);
    const before = await number("samples");
    await until("five samples follow", async () => await number("samples") > before + 5);
    assertEquals(await number("asked"), 1);
    await slow.evaluate("late += 40_000_000");
    await until("it asks again", async () => await number("asked") > 1);
    await slow.close();
  });

  it("shows a table with a name that is not Unicode, and so not part of an address, and how many rows it lacks", async () => {
    const page = await open();
    const row = { waiting: 1, leased: 0, delayed: 0, dead: 1 };
    const queues = ["\ud800", "beside it"].map((name) => ({ id: name, name, ...row }));
    const groups = [{ id: "\ud800", target: "t", group: "\ud800", queue: "\ud800", lag: 1, leased: 0, dead: 1 }];
    const tables = { queues, groups, topics: [], functions: [], buses: [] };
    const leftOut = { queues: 1_234, groups: 0, topics: 0, functions: 0, buses: 0 };
    const about = { transport: "", namespace: "shop", interval: 100, unknown: [], leftOut };
    const body = `data: ${JSON.stringify({ type: "hello", ...about, history: [], tables, reports: [], jobs: [] })}\n\n`;
    await page.route("**/live", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await page.reload();
    await page.getByRole("rowheader", { name: "beside it" }).waitFor();
    const note = page.getByText("Rows that are not shown");
    assertEquals(await note.innerText(), "Rows that are not shown, because the table is too large: 1,234");
    await page.goto(`${dashboard.url}#/groups`);
    await page.getByRole("rowheader").first().waitFor();
    assertEquals(await note.count(), 0);
    await page.close();
    assertEquals(faults, []);
  });

  it("is used with the keyboard, and shows 1,000 queues in pages", async () => {
    const keys = Array.from({ length: 1_000 }, (_, i) => `__eventbus:many:queue-${String(i).padStart(4, "0")}`);
    for (const key of keys) await server.run("rpush", key, "1");
    await using many = await openDashboard(provider, { namespace: "many", interval: 100 });
    const page = await open("light", many.url);
    await page.getByText("1–50", { exact: true }).waitFor();
    await page.getByText("1,000 queues").waitFor();
    assertEquals(await page.getByRole("rowheader").count(), 50);
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByText("51–100", { exact: true }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("0777");
    await page.getByText("1 of 1,000 queues").waitFor();
    for (let tabs = 0; await page.locator(":focus").innerText() !== "queue-0777"; tabs++) {
      assert(tabs < 12, "the queue is reached by Tab");
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await until("the heading has the focus", async () => await page.locator("h2:focus").innerText() === "queue-0777");
    await page.close();
  });

  const schemes = [["light", "rgb(246, 247, 249)"], ["dark", "rgb(20, 23, 28)"]] as const;
  // the runtime has no part in what the browser draws
  for (const [scheme, background] of schemes) {
    it(`is ${scheme} if the browser prefers it, and axe finds no accessibility fault, including contrast`, async () => {
      const page = await open(scheme);
      await page.evaluate(AXE);
      assertEquals(await page.evaluate("getComputedStyle(document.documentElement).backgroundColor"), background);
      for (const view of ["queues", `queues/${encodeURIComponent(HOSTILE)}/dead`, "topics", "activity"]) {
        await page.goto(`${dashboard.url}#/${view}`);
        await page.getByText("live").waitFor();
        const { violations } = await page.evaluate("axe.run()") as { violations: { id: string; nodes: unknown }[] };
        assertEquals(violations.map(({ id, nodes }) => `${view}: ${id}: ${JSON.stringify(nodes)}`), []);
      }
      await page.close();
    });
  }

  it("refuses a page of another origin, and one without the token", async () => {
    const stranger = createServer((_, response) => response.setHeader("content-type", "text/html").end("<p>"));
    await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(stranger.address() as { port: number }).port}/`);
    // it even knows the token
    const outcomes = await page.evaluate(async (url) => {
      const outcome = (promise: Promise<unknown>) => promise.then(() => "done", () => "refused");
      const purge = { method: "POST", body: JSON.stringify({ action: "purge", queue: "orders" }) };
      const { document } = globalThis as unknown as { document: Page };
      const frame = document.createElement("iframe");
      frame.src = url;
      const loaded = new Promise((resolve) => frame.onload = resolve);
      document.body.append(frame);
      await loaded;
      return [
        await outcome(fetch(`${url}items?queue=orders&offset=0&limit=9`)),
        await outcome(fetch(`${url}actions`, purge)),
        await outcome(fetch(`${url}actions`, { ...purge, mode: "no-cors" })),
        frame.contentDocument === null ? "refused" : "done",
      ];
      interface Page {
        createElement(name: string): { src: string; onload?: unknown; contentDocument: unknown };
        body: { append(element: unknown): void };
      }
    }, dashboard.url);
    assertEquals(outcomes, ["refused", "refused", "refused", "refused"]);
    assertEquals(await bus.queue("orders").qsize(), 2);
    const answer = await page.goto(new URL("/", dashboard.url).href);
    assertEquals(answer?.status(), 403);
    assertMatch(await page.locator("body").innerText(), /Open the address that `tsmq ui` has printed/);
    await page.close();
    await new Promise((resolve) => stranger.close(resolve));
  });

  it("requests nothing from another origin, and writes no error to the console", () => {
    assertEquals(faults, []);
  });

  it("reports that its server has gone, and connects again by itself", async () => {
    const target = new URL(dashboard.url);
    await using tunnel = await TcpProxy.to(Number(target.port));
    const page = await browser.newPage();
    await page.goto(`http://localhost:${tunnel.port}${target.pathname}`);
    await page.getByText("live").waitFor();
    await tunnel.refuse();
    tunnel.cut();
    await page.getByRole("alert").filter({ hasText: "does not answer" }).waitFor();
    await tunnel.accept();
    await page.getByText("live").waitFor();
    assertEquals(await page.getByRole("alert").count(), 0);
    await page.close();
  });
});
