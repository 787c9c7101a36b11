/** The dashboard's server: a request without the token, by a foreign host name or from another origin is refused. */
// run: on deno
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { request } from "node:http";
import { connect } from "node:net";
import { Bus } from "../../mod.ts";
import { memory } from "../../src/providers/memory/provider.ts";
import { assets } from "../../scripts/page.ts";
import { type Dashboard, openDashboard } from "../../ui/mod.ts";
import { SCRIPT, STYLE } from "../../ui/assets.ts";
import { tool } from "../support/tools.ts";
import { until } from "../support/until.ts";

interface Got {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

describe("the dashboard's server", () => {
  const provider = memory();
  let bus: Bus;
  let dashboard: Dashboard;
  let base: URL;
  beforeAll(async () => {
    bus = await Bus.open(provider);
    dashboard = await openDashboard(provider, { interval: 50 });
    base = new URL(dashboard.url);
  });
  afterAll(async () => {
    await dashboard.close();
    await bus.close();
  });

  /** Sends exactly these headers: `fetch` sets Host and Origin by itself. */
  function get(path: string, headers: Record<string, string> = {}, method = "GET", body = ""): Promise<Got> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = base;
      const sent = request({ hostname, port, path, method, headers: { host: base.host, ...headers } }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => text += part);
        response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
      });
      sent.on("error", reject).end(body);
    });
  }

  it("listens on this machine only, and has a token of at least 128 bits in its address", async () => {
    assertEquals(base.hostname, "127.0.0.1");
    assertMatch(base.pathname, /^\/[\w-]{22,}\/$/);
    await using other = await openDashboard(provider);
    assert(new URL(other.url).pathname !== base.pathname, "each dashboard has a token of its own");
  });

  it("serves its page, and nothing that a browser would load from elsewhere or run inline", async () => {
    const page = await get(base.pathname);
    assertEquals([page.status, page.headers["content-type"]], [200, "text/html; charset=utf-8"]);
    const policy = String(page.headers["content-security-policy"]);
    assertMatch(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
    assert(!/unsafe|\*|http:|data:/.test(policy), policy);
    assertEquals(page.body.match(/(src|href)="[^"]*"/g), ['href="icon.svg"', 'href="page.css"', 'src="page.js"']);
    assertEquals((await get(`${base.pathname}page.js`)).body, SCRIPT);
    assertEquals((await get(`${base.pathname}page.css`)).body, STYLE);
  });

  it("refuses everything without the token, and reveals nothing", async () => {
    for (const path of ["", "page.js", "live", "items?queue=q&offset=0&limit=1", "absent"]) {
      for (const token of ["/", `${base.pathname.slice(0, -2)}/`, `/x${base.pathname.slice(1)}`, "/%00/"]) {
        const { status, body } = await get(`${token}${path}`);
        assertEquals([status, body], [
          403,
          "Open the address that `tsmq ui` has printed: it contains this dashboard's token",
        ]);
      }
    }
    assertEquals((await get(base.pathname.slice(0, -1))).status, 403);
  });

  it("prints the address on which it listens, not a name that has several", async () => {
    await using dashboard = await openDashboard(memory(), { namespace: "shop", host: "localhost" });
    assertMatch(dashboard.url, /^http:\/\/(127\.0\.0\.1|\[::1\]):/);
  });

  it("refuses a name that a stranger's DNS may have pointed here", async () => {
    const strange = [
      "evil.example",
      `evil.example:${base.port}`,
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "@",
    ];
    for (const host of strange) assertEquals((await get(base.pathname, { host })).status, 403, host);
    // the last one is a tunnel's
    for (const host of [base.host, `localhost:${base.port}`, `[::1]:${base.port}`, "localhost:9000"]) {
      assertEquals((await get(base.pathname, { host })).status, 200, host);
    }
  });

  it("refuses pages of another origin, even with the token", async () => {
    await bus.queue("kept").put(1);
    const purge = JSON.stringify({ action: "purge", queue: "kept" });
    for (const origin of ["http://evil.example", "http://127.0.0.1:1", `https://${base.host}`, "null"]) {
      assertEquals((await get(`${base.pathname}actions`, { origin }, "POST", purge)).status, 403, origin);
      assertEquals((await get(`${base.pathname}live`, { origin })).status, 403, origin);
    }
    assertEquals(await bus.queue("kept").qsize(), 1);
    assertEquals((await get(`${base.pathname}actions`, { origin: base.origin }, "POST", purge)).status, 202);
    await until("it is purged", async () => await bus.queue("kept").empty());
  });

  it("closes connections beyond 256, and serves its page when others have ended", async () => {
    await using other = await openDashboard(provider);
    const { port } = new URL(other.url);
    let [connected, closed] = [0, 0];
    const sockets = Array.from(
      { length: 300 },
      () =>
        connect(Number(port), "127.0.0.1").on("connect", () => connected++).on("error", () => {}).on(
          "close",
          () => closed++,
        ),
    );
    await until("all have connected, and those beyond the limit are closed", () => connected === 300 && closed === 44);
    for (const socket of sockets) socket.destroy();
    await until("it serves again", async () => (await fetch(other.url).catch(() => undefined))?.status === 200);
  });

  it("answers a malformed request with one line", async () => {
    const wrong: [path: string, body?: string][] = [
      ["items"],
      ["items?queue=q&offset=0&limit=1000000"],
      ["items?queue=q&offset=-1&limit=1"],
      ["letters?offset=0&limit=1"],
      ["actions", "{"],
      ["actions", "null"],
      ["actions", '{"action":"free","queue":"q"}'],
      ["actions", '{"action":"purge"}'],
      ["actions", '{"action":"retry","queue":"q","key":7}'],
    ];
    for (const [path, body] of wrong) {
      const { status, body: text } = await get(
        `${base.pathname}${path}`,
        {},
        body === undefined ? "GET" : "POST",
        body,
      );
      assertEquals(status, 400, path);
      assertMatch(text, /^Cannot .+$/);
    }
    assertEquals((await get(`${base.pathname}actions`, {}, "POST", "x".repeat(100_000))).status, 413);
    assertEquals((await get(`${base.pathname}absent`)).status, 404);
    assertEquals((await get(`${base.pathname}constructor`)).status, 404);
    assertEquals((await get(`${base.pathname}items`, {}, "DELETE")).status, 404);
  });

  it("serves the bundle of its sources; `deno task page` makes it", () => {
    const made = assets(tool("bun"));
    for (const text of [SCRIPT, STYLE]) {
      assert(made.includes(JSON.stringify(text)), "ui/assets.ts is not that of ui/page/");
    }
  });
});
