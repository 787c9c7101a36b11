// run: on bun, kernel-queues
/**
 * The README and docs/ do not lie: what they show runs, what they claim of a provider is what it says of itself. The types of their examples are
 * checked by `tests/package/type_errors_test.ts`.
 */
import { assert, assertEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { diagram } from "../scripts/diagram.ts";
import type { Features } from "../src/provider/provider.ts";
import { aws } from "../src/providers/aws/provider.ts";
import { ipc } from "../src/providers/ipc/provider.ts";
import { memory } from "../src/providers/memory/provider.ts";
import { redis } from "../src/providers/redis/provider.ts";
import { Child, removeDir } from "./support/child.ts";
import { EXAMPLES, PAGES, ROOT, text } from "./support/docs.ts";
import { FauxqsServer } from "./support/fauxqs_server.ts";
import { here } from "./support/peer.ts";
import { makeProject } from "./support/project.ts";
import { RedisServer } from "./support/redis_server.ts";
import { tool } from "./support/tools.ts";

/** Credentials for an emulator. The SDK finds them, and the endpoint, in the environment. */
const KEY = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" };

/** Returns whether a file of the project exists. (`existsSync` of Bun asks `access`, as `tests/support/tools.ts` says.) */
function exists(path: string): boolean {
  return statSync(join(ROOT, path), { throwIfNoEntry: false }) !== undefined;
}

describe("what the README and docs/ show", () => {
  let dir: string;
  let server: RedisServer;
  let fauxqs: FauxqsServer;
  beforeAll(async () => {
    dir = makeProject();
    [server, fauxqs] = await Promise.all([RedisServer.start(), FauxqsServer.start()]);
  });
  afterAll(async () => {
    removeDir(dir);
    await server.stop();
    await fauxqs.stop();
  });

  it("is found: one example for each style", () => {
    assert(EXAMPLES.filter(({ page }) => page === "README.md").length >= 4);
  });

  EXAMPLES.forEach(({ page, title, code, endless }, index) =>
    it(`runs: ${page}, ${title}`, async () => {
      const file = join(dir, `example_${index}.ts`);
      writeFileSync(file, code);
      const before = here === "deno" ? ["run", "-A", "--no-prompt", "--no-check", "--no-lock"] : ["run"];
      const env = { ...process.env, ...KEY, NO_COLOR: "1", REDIS_URL: server.url, AWS_ENDPOINT_URL: fauxqs.endpoint };
      const child = new Child(tool(here), [...before, file], { cwd: dir, env });
      // events and results come in no order of the text
      const promised = [...code.matchAll(/\/\/ prints (.*)$/gm)].map(([, line]) => line!);
      const lines: string[] = [];
      child.onLine((line) => {
        lines.push(line);
        if (endless && lines.length === promised.length) child.signal("SIGTERM");
      });
      const killed = endless && !code.includes('"SIGTERM"');
      assertEquals(
        await child.wait(),
        killed ? { code: null, signal: "SIGTERM" } : { code: 0, signal: null },
        child.output,
      );
      if (promised.length > 0) assertEquals(lines.sort(), promised.sort(), child.output);
    })
  );

  it("names the file that contains each part which cannot run alone", () => {
    for (const page of PAGES) {
      for (const [before] of text(page).matchAll(/^.*\n\n```ts (?!$)/gm)) {
        const [, file = "no file"] = /^<!-- not run alone: .*?([\w/]+\.ts)\b.* -->/.exec(before) ?? [];
        assert(exists(file), `${page}: ${before}`);
      }
      assertEquals(text(page).match(/^```(js|javascript|typescript)$/gm), null, page);
    }
  });

  it("lists the options of a consumer with the defaults in their comments", () => {
    const [, members] = /^export interface ConsumeOptions \{\n([^]*?)^\}/m.exec(text("src/queue/consumer.ts"))!;
    const options = [...members!.matchAll(/\/\*\*([^]*?)\*\/\s+readonly (\w+)\?:/g)].map(([, comment, name]) => [
      name,
      /Default:? ([^.]*)\./.exec(comment!)?.[1] ?? "none",
    ]);
    const table = /<!-- consume: [^]*?<!-- \/consume -->/.exec(text("docs/delivery.md"))![0];
    const rows = table.split("\n").map((line) => line.split("|").map((cell) => cell.trim())).slice(4);
    const listed = rows.filter((cells) => cells.length > 1).map(([, name, , value]) => [name!.slice(1, -1), value]);
    assertEquals(listed.toSorted(), options.toSorted());
  });

  it("names each feature in the guide for custom transports", () => {
    const [, listed] = /^ {4}features: \{\n([^]*?)^ {4}\}/m.exec(text("docs/provider.md"))!;
    const names = [...listed!.matchAll(/^ {6}(\w+):/gm)].map(([, name]) => name!);
    assertEquals(names.toSorted(), Object.keys(memory().features).toSorted());
  });

  it("names tasks that install their packages first", () => {
    const { tasks } = JSON.parse(text("deno.json")) as { tasks: Record<string, string> };
    const named = [...text("README.md").matchAll(/npx -y deno task ([\w:]+)/g)].map(([, name]) => name!);
    assert(named.length >= 2);
    for (const name of named) assert(/^deno task --quiet (install|tools)\b/.test(tasks[name] ?? ""), name);
  });

  it("has the diagram that scripts/diagram.ts draws", () => {
    assertEquals(text("docs/flow.svg"), diagram());
  });

  it("has only links whose targets exist", () => {
    for (const page of PAGES) {
      for (const [, link] of text(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        assert(exists(join(dirname(page), link!)), `${page} links to ${link}`);
      }
    }
  });
});

describe("the README's table of what each transport can do", () => {
  const transports: Record<string, Features> = {
    memory: memory().features,
    Redis: redis().features,
    "Redis Cluster": redis({ cluster: ["redis://host:7000"] }).features,
    AWS: aws().features,
    IPC: ipc().features,
  };
  const yes = (value: boolean) => value ? "yes" : "no";
  const bytes = (value: number) => {
    if (value === Infinity) return "as memory allows";
    return value >= 2 ** 20 ? `${value / 2 ** 20} MiB` : `${Math.floor(value / 2 ** 10)} KiB`;
  };
  const row = (name: string, features: Features) => [
    name,
    yes(features.shared),
    yes(features.ordered),
    yes(features.durable),
    features.capacity === Infinity ? "unlimited" : `${features.capacity} items`,
    bytes(features.maxBody),
    yes(features.counts),
    yes(features.exactSize),
    features.maxDelay === Infinity ? "any" : `${features.maxDelay / 3_600_000} h`,
  ];

  for (const [name, features] of Object.entries(transports)) {
    it(`is right about ${name}`, () => {
      const table = /<!-- features[^]*?<!-- \/features -->/.exec(text("README.md"))![0];
      const rows = table.split("\n").map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
      assertEquals(rows.find((cells) => cells[0] === name), row(name, features));
    });
  }
});
