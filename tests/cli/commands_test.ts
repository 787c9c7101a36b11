// run: on bun, deadline 400, because it starts some forty processes
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { fileURLToPath } from "node:url";
import { Bus } from "../../mod.ts";
import { writeLetter } from "../../src/queue/letter.ts";
import { printableLines } from "../../src/internal/printable.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { Peer } from "../support/peer.ts";
import { RedisServer } from "../support/redis_server.ts";
import { until } from "../support/until.ts";
import { inside, type Printed } from "./inside.ts";
import { Running, tsmq } from "./run.ts";

const MODULE = fileURLToPath(new URL("served.ts", import.meta.url));

/** Runs the command on a terminal of this width, with `script`, which passes on its input and output. */
const onTerminal = (columns: number) => ({
  through: [
    "bash",
    "-c",
    `printf -v run "%q " "$@"; exec script -qefc "stty cols ${columns} rows 20; $run" /dev/null`,
    "bash",
  ],
  open: true,
  env: { SHELL: "/bin/bash" },
});
const ON_TERMINAL = onTerminal(80);

describe("tsmq", () => {
  let server: RedisServer;
  let url: string;
  let bus: Bus;
  beforeAll(async () => {
    server = await RedisServer.start();
    url = server.url;
    // the commands of this process share its worker, instead of starting one each
    bus = await Bus.open(redis({ url }), { namespace: "beside" });
  });
  afterAll(async () => {
    await bus.close();
    await server.stop();
  });

  /** Returns the flag for a new namespace. */
  const fresh = () => ["-n", crypto.randomUUID()];

  it("sub prints events that pub publishes, from arguments and from standard input, until --count", async () => {
    const ns = fresh();
    await using sub = new Running(["sub", url, "shop.*", "-p", "-c", "4", "-t", "60000", ...ns]);
    const reached = async (...args: string[]) => {
      const { lines } = await tsmq(["pub", url, ...args, ...ns]);
      return lines.map((line) => JSON.parse(line).reached);
    };
    // the command does not print that it has subscribed, so publish until an event reaches it
    await until("it has subscribed", async () => (await reached("shop.try", "0"))[0] !== 0 || sub.child.exit);
    assertEquals(await reached("shop.a", '{"id":"o-1"}', "[1,2]"), [1, 1]);
    const { code, errors } = await tsmq(["pub", url, "shop.b", ...ns], {
      input: ['{"big":12345678901234567890}'],
      own: true,
    });
    assertEquals([code, errors], [0, []]);
    const outcome = await sub.ended();
    assertEquals(outcome.code, 0);
    assertEquals(outcome.lines.slice(1), [
      '{"topic":"shop.a","event":{"id":"o-1"}}',
      '{"topic":"shop.a","event":[1,2]}',
      '{"topic":"shop.b","event":{"big":12345678901234567890}}',
    ]);
  });

  it("groups free ends a group that has no member", async () => {
    const namespace = crypto.randomUUID();
    await using bus = await Bus.open(redis({ url }), { namespace });
    const member = bus.subscribe("shop.*", () => {}, { group: "audit", pattern: true });
    await member.ready;
    await member.unsubscribe();
    await bus.publish(1, "shop.orders");
    const queue = bus.queue("shop.*@audit");
    assertEquals(await queue.qsize(), 1);
    const { code, errors } = await tsmq(["groups", "free", url, "shop.*", "audit", "-p", "-n", namespace]);
    assertEquals([code, errors], [0, []]);
    await bus.publish(2, "shop.orders");
    assertEquals(await queue.qsize(), 0);
    assertEquals((await tsmq(["groups", "free", url, "shop", "a@b", "-n", namespace])).code, 2);
  });

  it("sub ends with 0 on Ctrl-C, and with 4 when events are missing", async () => {
    // longer than any timer
    await using sub = new Running(["sub", url, "t", "-b", "-t", "Infinity"]);
    const heard = () => server.run("pubsub", "numsub", "__eventbus:global:t").then((reply) => (reply as number[])[1]);
    await until("it has subscribed", async () => await heard() !== 0 || sub.child.exit);
    await tsmq(["pub", url, "t", "1"]);
    assertEquals(await sub.printed(1), ["1"]);
    sub.child.signal("SIGINT");
    assertEquals((await sub.ended()).code, 0);
    const late = await tsmq(["sub", url, "t", "-c", "2", "-t", "50"]);
    assertEquals(late.code, 4);
    assertMatch(late.errors.join(), /^tsmq: Cannot receive 2 events: 2 are missing after 50 ms$/);
  });

  it("sub --count does not count an event that is nested too deep to be printed", async () => {
    const [flag, namespace] = fresh() as [string, string];
    const channel = `__eventbus:${namespace}:t`;
    const publish = async (lines: () => string[]) => {
      const heard = async () => (await server.run("pubsub", "numsub", channel) as number[])[1] !== 0;
      await until("it has subscribed", heard);
      for (const event of ["[".repeat(501) + "]".repeat(501), "7"]) await server.run("publish", channel, event);
      await until("it prints the second event", () => lines().length > 0);
    };
    const { code, lines } = await tsmq(["sub", url, "t", "-b", "-c", "1", flag, namespace], {
      beside: publish,
    });
    assertEquals([code, lines], [0, ["7"]]);
  });

  it("put and get pass items, oldest first; an empty queue is exit code 3", async () => {
    const ns = fresh();
    const own = true;
    assertEquals(await tsmq(["put", url, "jobs", '{"id":1}', "2", ...ns], { own }), { code: 0, lines: [], errors: [] });
    await tsmq(["put", url, "jobs", "--text", ...ns], { input: ["plain text"] });
    assertEquals((await tsmq(["get", url, "jobs", "-c", "2", ...ns])).lines, ['{"id":1}', "2"]);
    const rest = await tsmq(["get", url, "jobs", "-c", "2", "-t", "250", ...ns], { own });
    assertEquals(rest.lines, ['"plain text"']);
    assertEquals(rest.code, 3);
    assertEquals(rest.errors, ['tsmq: Cannot receive from queue "jobs": it is empty']);
    // no lease is left: each printed item was acknowledged
    assertEquals(await server.keys(), []);
  });

  it("get reports an item that it cannot read or print, moves it to the dead letters, and continues", async () => {
    const namespace = crypto.randomUUID();
    const deep = "[".repeat(20_000) + "]".repeat(20_000);
    for (const body of [deep, "{bad", "1"]) await server.run("lpush", `__eventbus:${namespace}:jobs`, body);
    const { code, lines, errors } = await tsmq(["get", url, "jobs", "-c", "3", "-n", namespace]);
    assertEquals([code, lines, errors.length], [1, ["1"], 2]);
    await using bus = await Bus.open(redis({ url }), { namespace });
    assertEquals([await bus.queue("jobs").qsize(), await bus.queue("jobs").dead.size()], [0, 2]);
  });

  it("ends at once on Ctrl-C or an error, even while it waits for standard input", async () => {
    await using pub = new Running(["pub", url, "t", ...fresh()], { input: ["1"], open: true });
    await pub.printed(1);
    pub.child.signal("SIGINT");
    assertEquals((await pub.ended()).code, 0);
    assertEquals((await tsmq(["put", url, "q", ...fresh()], { input: ["{bad"], open: true })).code, 2);
  });

  it("reads a line of standard input unchanged, whatever characters it contains", async () => {
    const ns = fresh();
    await tsmq(["put", url, "q", ...ns], { input: ['"a\u2028b"', " ", '"c"\r'], own: true });
    await tsmq(["put", url, "q", "--text", ...ns], { input: ["d\re", " f "] });
    const { lines } = await tsmq(["get", url, "q", "-c", "4", ...ns]);
    assertEquals(lines.map((line) => JSON.parse(line)), ["a\u2028b", "c", "d\re", " f "]);
  });

  it("ends silently when the reader closes the pipe, and puts an unread item back", async () => {
    const ns = fresh();
    await tsmq(["put", url, "jobs", "1", ...ns]);
    const unread = ["bash", "-c", 'exec 3> >(:); wait $!; "$@" >&3', "bash"];
    for (
      const args of [["get", url, "jobs"], ["pub", url, "t", "1"], ["top", url], ["doctor", url], ["completion", "zsh"]]
    ) {
      const run = new Running([...args, ...args.includes(url) ? ns : []], { through: unread });
      const { code } = await run.ended();
      const { output } = run.child;
      assertEquals([code, output], [0, ""], args[0]);
    }
    assertEquals((await tsmq(["get", url, "jobs", ...ns])).lines, ["1"]);
  });

  it("serve serves the functions of a module, and call calls them", async () => {
    const ns = fresh();
    await using serve = new Running(["serve", url, MODULE, ...ns]);
    const [serving] = await serve.printed(1);
    assertEquals(JSON.parse(serving!), {
      serving: ["add", "fail", "hello"],
      skipped: {
        Counter: "it is a class; a default export can expose an instance of it",
        EventEmitter: "it belongs to the platform",
        _internal: "its name begins with _",
        clone: "it belongs to the platform",
        counter: "it is not a function",
        list: "it is not a function",
        store: "it is not a function",
      },
    });
    const denied = await tsmq(["call", url, "store.get", "key", "--text", ...ns]);
    assertEquals([denied.code, denied.lines], [7, []]);
    assertEquals((await tsmq(["call", url, "add", "1", "2", ...ns], { own: true })).lines, ["3"]);
    assertEquals((await tsmq(["call", url, "add", ...ns, "--", "-1", "2"])).lines, ["1"]);
    assertEquals((await tsmq(["call", url, "hello", "--text", "you", ...ns])).lines, ['"hello you"']);
    const many = await tsmq(["call", url, "add", "--stdin", ...ns], { input: ["[1,2]", "[3,4]"] });
    assertEquals(many.lines, ["3", "7"]);
    const multi = await tsmq(["call", url, "add", "1", "2", "--multi", ...ns]);
    assertEquals(multi.lines, ['{"status":"fulfilled","value":3}']);
    const failed = await tsmq(["call", url, "fail", ...ns]);
    assertEquals([failed.code, failed.errors], [8, ['tsmq: Cannot call "fail": RangeError(out of luck)']]);
    serve.child.signal("SIGTERM");
    assertEquals((await serve.ended()).code, 0);
    const nobody = await tsmq(["call", url, "add", "1", "2", ...ns]);
    const none = `tsmq: Cannot call "add": no server in namespace "${ns.at(-1)}" serves it`;
    assertEquals([nobody.code, nobody.errors], [7, [none]]);
  });

  it("serve passes the bus to a default export; a handler that throws is reported in one line and stops nothing", async () => {
    const ns = fresh();
    await using serve = new Running(["serve", url, MODULE, ...ns]);
    await serve.printed(1);
    await tsmq(["pub", url, "broken", "1", ...ns]);
    await tsmq(["put", url, "in", "20", ...ns]);
    assertEquals((await tsmq(["get", url, "out", "-t", "15000", ...ns])).lines, ["40"]);
    await until("it reports the handler's error", () => serve.child.output.includes("another"));
    serve.child.signal("SIGTERM");
    assertEquals((await serve.ended()).errors, ["tsmq: one line and another"]);
  });

  it("top shows the rates of topics and the sizes of queues", async () => {
    const ns = fresh();
    await tsmq(["put", url, "waiting", "1", "2", "3", ...ns]);
    await using top = new Running(["top", url, "--json", "-i", "100", ...ns]);
    await top.printed(1);
    await tsmq(["pub", url, "ticks", "1", "2", ...ns]);
    const topic = () => top.lines.map((line) => JSON.parse(line)).findLast((row) => row.kind === "topic");
    while (topic()?.total !== 2 && !top.child.exit) await top.printed(top.lines.length + 1);
    assertEquals(topic().name, "ticks");
    const seen = top.lines.map((line) => JSON.parse(line)).filter((row) => row.name === "ticks");
    assert(seen.some(({ rate }) => rate > 0), "a rate is seen");
    const counts = { waiting: 3, leased: 0, delayed: 0, dead: 0 };
    const { consumers: _, ...first } = JSON.parse(top.lines[0]!);
    assertEquals(first, { kind: "queue", name: "waiting", ...counts, in: 0, out: 0 });
    top.child.signal("SIGINT");
    assertEquals((await top.ended()).code, 0);
    const table = (await tsmq(["top", url, "-c", "1", "-i", "50", ...ns])).lines;
    assertMatch(
      table.join("\n"),
      /^QUEUE +WAITING +LEASED +DELAYED +DEAD +IN\/S +OUT\/S +P50 MS\nwaiting +3 +0 +0 +0 +0 +0 +-$/m,
    );
  });

  it("top fills a terminal of 80 columns, sorts by the pressed key, and ends with q", async () => {
    const ns = fresh();
    await tsmq(["put", url, "a", "1", ...ns]);
    await tsmq(["put", url, `b${"-".repeat(100)}`, "1", "2", ...ns]);
    await using top = new Running(["top", url, "-i", "100", ...ns], ON_TERMINAL);
    /** Waits for a frame in which these texts follow each other. */
    const drawn = async (...texts: string[]) => {
      const shows = (frame: string) => {
        const at = texts.map((text) => frame.indexOf(text));
        return at.every((each, i) => each >= 0 && (i === 0 || each > at[i - 1]!));
      };
      const last = () => top.child.output.split("\x1b[H").at(-2) ?? "";
      await until(`top draws ${texts}; it drew:\n${last()}`, () => shows(last()));
      return last();
    };
    await until("top takes the terminal over", () => top.child.output.includes("\x1b[?1049h\x1b[?25l"));
    const byName = await drawn("redis", ns[1]!, "QUEUE*", "\na ", "\nb---", "q quit");
    const lines = byName.replaceAll("\x1b[K", "").replaceAll("\x1b[J", "").replaceAll("\r", "").split("\n");
    assertEquals([lines.length, lines.every(({ length }) => length <= 80)], [20, true]);
    assertMatch(lines[0]!, new RegExp(`^redis   ${ns[1]}   \\d bus\\(es\\)   \\d\\d:\\d\\d:\\d\\d$`));
    assertMatch(lines[2]!, /^QUEUE\* +WAITING +LEASED +DELAYED +DEAD +IN\/S +OUT\/S +P50 MS$/);
    top.child.write("w");
    await drawn("WAITING*", "\nb---", "\na ");
    top.child.write("q");
    assertEquals((await top.ended()).code, 0);
    const { output } = top.child;
    assertEquals(output.includes("\x1b[2J"), false); // it never clears the screen, which would flicker
    assertEquals(output.trimEnd().slice(-"\x1b[?25h\x1b[?1049l".length), "\x1b[?25h\x1b[?1049l");
  });

  it("purge asks on a terminal, and removes nothing unless the answer is yes", async () => {
    const ns = fresh();
    await tsmq(["put", url, "jobs", "1", "2", ...ns]);
    for (const answer of ["n", "yes"]) {
      await using purge = new Running(["purge", url, "jobs", ...ns], ON_TERMINAL);
      await until("it asks", () => purge.child.output.includes('Remove 2 waiting item(s) of queue "jobs"? [y/N]'));
      purge.child.write(`${answer}\n`);
      assertEquals((await purge.ended()).code, 0);
      assertEquals(purge.child.output.includes('{"purged":2}'), answer === "yes");
      assertEquals((await tsmq(["queues", url, "--json", ...ns])).lines.length, answer === "yes" ? 0 : 1);
    }
  });

  it("dead retry and dead purge take letters by their numbers; a wrong number takes none", async () => {
    const namespace = crypto.randomUUID();
    const ns = ["-n", namespace];
    // letters 2 and 3 are equal; an item that is nested too deep to be shown has no number for them
    const deep = "[".repeat(600) + "]".repeat(600);
    const bodies = ["1", "2", "2", "3", deep];
    const cause = { name: "Error", message: "on purpose" };
    for (const body of bodies) {
      await server.run("lpush", `__eventbus:${namespace}:jobs.dead`, writeLetter("jobs", body, true, 1, cause));
    }
    const items = async () =>
      (await tsmq(["dead", "list", url, "jobs", "--json", ...ns])).lines.map((text) => JSON.parse(text).item);
    for (const wrong of ["9", "5", "0", "x", "1.5"]) {
      const { code, errors } = await tsmq(["dead", "retry", url, "jobs", "1", wrong, ...ns]);
      assertEquals([code, errors.length], [2, 1], wrong);
    }
    assertEquals((await tsmq(["dead", "retry", url, "jobs", "4", "2", ...ns])).lines, ['{"retried":2}']);
    assertEquals((await tsmq(["get", url, "jobs", "-c", "2", ...ns])).lines, ["2", "3"]);
    assertEquals(await items(), [1, 2, undefined]);
    assertEquals((await tsmq(["dead", "purge", url, "jobs", "1", "--yes", ...ns])).lines, ['{"purged":1}']);
    assertEquals(await items(), [2, undefined]);
    assertEquals((await tsmq(["dead", "purge", url, "jobs", "--yes", ...ns])).lines, ['{"purged":2}']);
  });

  it("dead list --json, dead retry and dead purge read letters with the deepest item, and with deeper fields of others", async () => {
    const namespace = crypto.randomUUID();
    const ns = ["-n", namespace];
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    const letter = (item: string, more = "", inCause = "") =>
      `{"queue":"jobs","item":${item},"attempts":1${more},"cause":{"name":"Error","message":"m"${inCause}}}`;
    const deep = `,"more":${nested(600)}`;
    const letters = [letter("1"), letter(nested(500)), letter("2", deep), letter("3", "", deep), letter("4")];
    for (const each of letters) await server.run("lpush", `__eventbus:${namespace}:jobs.dead`, each);
    const { code, lines } = await tsmq(["dead", "list", url, "jobs", "--json", ...ns]);
    assertEquals([code, lines.length], [0, 5]);
    assertEquals((await tsmq(["dead", "retry", url, "jobs", "2", "5", ...ns])).lines, ['{"retried":2}']);
    assertEquals((await tsmq(["get", url, "jobs", "-c", "2", ...ns])).lines, [nested(500), "4"]);
    assertEquals((await tsmq(["dead", "purge", url, "jobs", "2", "3", "--yes", ...ns])).lines, ['{"purged":2}']);
  });

  it("says on standard error that there is nothing of this name in this namespace", async () => {
    const of = (what: string, name: string) => `${what} of queue "${name}"`;
    for (
      const [args, what] of [
        [["dead", "list", url, "thumbs"], of("dead letters", "thumbs")],
        [["dead", "list", url], "dead letters"],
        [["dead", "retry", url, "thumb"], of("dead letters", "thumb")],
        [["dead", "purge", url, "thumb", "-y"], of("dead letters", "thumb")],
        [["peek", url, "thumb"], of("waiting items", "thumb")],
        [["purge", url, "thumb", "-y"], of("waiting items", "thumb")],
        [["queues", url, "-i", "0"], "queues"],
        [["queues", url, "-i", "0", "--json"], "queues"],
        [["groups", "list", url], "groups"],
        [["who", url, "--json"], "buses, functions, topics or groups"],
      ] as [string[], string][]
    ) {
      const { code, errors } = await tsmq([...args, "-n", "empty"]);
      assertEquals([code, errors], [0, [`tsmq: no ${what} in namespace empty (--namespace)`]]);
    }
  });

  it("peek and purge say how many items are delayed or leased when none waits", async () => {
    const namespace = crypto.randomUUID();
    await using bus = await Bus.open(redis({ url }), { namespace });
    const queue = bus.queue<number>("thumbs");
    for (const item of [1, 2]) await queue.put(item, { delay: 600_000 });
    await queue.put(3);
    await using _lease = await queue.receive();
    const said = `no waiting items of queue "thumbs" in namespace ${namespace} (--namespace); delayed: 2; leased: 1`;
    for (const command of [["peek", url, "thumbs"], ["purge", url, "thumbs", "-y"]]) {
      const { code, errors } = await tsmq([...command, "-n", namespace]);
      assertEquals([code, errors], [0, [`tsmq: ${said}`]]);
    }
  });

  it("put gives items headers and a delay", async () => {
    const namespace = crypto.randomUUID();
    const ns = ["-n", namespace];
    await using bus = await Bus.open(redis({ url }), { namespace });
    const queue = bus.queue<unknown>("jobs");
    const put = ["put", url, "jobs", "1", ...ns];
    assertEquals((await tsmq([...put, "--header", "tenant=acme", "--header", "query=a=b"])).code, 0);
    await using lease = await queue.receive({ timeout: 30_000 });
    assertEquals([lease.item, { ...lease.headers }], [1, { tenant: "acme", query: "a=b" }]);
    assertEquals((await tsmq([...put, "--delay", "600000"])).code, 0);
    assertEquals((await queue.stats()).delayed, 1);
    for (const wrong of ["tenant", "=acme", "tsmq-x=1"]) {
      const { code, errors } = await tsmq([...put, "--header", wrong]);
      assertEquals([code, errors.length], [2, 1], wrong);
    }
  });

  it("long work shows a bar on a terminal, which never shares a line with the output", async () => {
    const ns = crypto.randomUUID();
    const name = `jobs${"-".repeat(100)}`;
    const cause = { name: "Error", message: "on purpose" };
    const letter = writeLetter(name, "1", true, 1, cause);
    const letters = Array.from({ length: 1_500 }, () => letter);
    await server.run("lpush", `__eventbus:${ns}:${name}.dead`, ...letters);
    await using retry = new Running(["dead", "retry", url, name, "-n", ns], ON_TERMINAL);
    await until(
      "it shows a bar",
      () => /retry jobs-+… [█░]{30} \d+ of 1500/.test(retry.child.output),
      60_000,
    );
    assertEquals((await retry.ended()).code, 0);
    const shown = retry.child.output.split("\r\x1b[K").map((text) => text.trimEnd());
    assertEquals(shown.at(-1), '{"retried":1500}');
    assertEquals(shown.slice(0, -1).filter((text) => [...text].length >= 80), []);
  });

  it("TSMQ_URL and TSMQ_NAMESPACE replace the URL and the flag --namespace", async () => {
    const env = { TSMQ_URL: url, TSMQ_NAMESPACE: crypto.randomUUID() };
    const own = true; // the default of the flag is set when the program is loaded
    assertEquals(await tsmq(["put", "jobs", "1"], { env, own }), { code: 0, lines: [], errors: [] });
    assertMatch((await tsmq(["queues"], { env, own })).lines.join("\n"), /\njobs +1 /);
    assertEquals((await tsmq(["get", url, "jobs", "-n", "other"], { env, own })).code, 3);
    assertEquals((await tsmq(["get", "-n", env.TSMQ_NAMESPACE, "jobs"], { env, own })).lines, ["1"]);
    assertEquals((await tsmq(["dead", "list", "jobs", "--json"], { env, own })).code, 0);
  });

  it("says where the URL is from if it is missing, mistyped, or there are too many arguments", async () => {
    const env = { TSMQ_URL: url };
    const wrong = async (...args: string[]) => (await tsmq(args, { env })).errors.join();
    assertMatch(await wrong("pub", "http://user:secret@x", "t", "1"), /^tsmq: (?!.*secret)Cannot use a URL/);
    assertMatch(await wrong("queues", "localhost"), /^tsmq: Too many arguments.*; the URL is that of TSMQ_URL$/);
    const { code, errors } = await tsmq(["queues"]);
    assertEquals([code, errors.length], [2, 1]);
    assertMatch(errors[0]!, /; the first one is the URL of the transport, unless TSMQ_URL contains it$/);
  });

  it("sub says that a glob without --pattern is the name of one topic", async () => {
    const sub = async (...args: string[]) => await tsmq(["sub", url, "shop.*", "-t", "1", ...args, ...fresh()]);
    const text = 'tsmq: only events of the topic with exactly the name "shop.*"; ' +
      "for all topics that match it, pass --pattern (-p)";
    assertEquals(await sub(), { code: 0, lines: [], errors: [text] });
    assertEquals(await sub("-p"), { code: 0, lines: [], errors: [] });
  });

  it("where a queue has nothing, the queue that was meant is named; on a wide terminal, dead list uses it", async () => {
    const namespace = crypto.randomUUID();
    const ns = ["-n", namespace];
    const cause = { name: "Error", message: "x".repeat(60) };
    await server.run("lpush", `__eventbus:${namespace}:thumbs.dead`, writeLetter("thumbs", "1", true, 1, cause));
    for (const name of ["thumbs.dead", "thumbz"]) {
      for (const args of [["dead", "list"], ["dead", "retry"], ...name === "thumbz" ? [["peek"]] : []]) {
        const { code, errors } = await tsmq([...args, url, name, ...ns]);
        assertEquals([code, errors.length], [0, 1]);
        assertMatch(errors[0]!, /^tsmq: no .* in namespace .*; did you mean "thumbs"\?$/);
      }
    }
    for (const name of ["thumbs", "mails"]) {
      const { errors } = await tsmq(["peek", url, name, ...ns]);
      assertEquals(errors, [`tsmq: no waiting items of queue "${name}" in namespace ${namespace} (--namespace)`]);
    }
    const list = (options = {}) => tsmq(["dead", "list", url, "thumbs", ...ns], options);
    assertMatch((await list()).lines[1]!, /Error: x{32}… /);
    await using wide = new Running(["dead", "list", url, "thumbs", ...ns], onTerminal(160));
    await wide.ended();
    assertMatch(wide.child.output, /Error: x{60} /);
  });

  it("sub --where prints only the events that pass every filter", async () => {
    const ns = fresh();
    await using sub = new Running([
      "sub",
      url,
      "t*",
      "-p",
      "-b",
      "-c",
      "2",
      "-w",
      "event.n>1",
      "-w",
      "topic~t?",
      "-w",
      "event.s!=x",
      ...ns,
    ]);
    const publish = (topic: string, ...events: string[]) => tsmq(["pub", url, topic, ...events, ...ns]);
    const reached = async () => JSON.parse((await publish("t", "0")).lines[0]!).reached;
    await until("it has subscribed", async () => await reached() !== 0 || sub.child.exit);
    await publish("t1", '{"n":1}', '{"n":2,"s":"x"}', '{"n":"3"}', '{"n":4}', "[5]", '{"n":6,"s":"y"}');
    assertEquals((await sub.ended()).lines, ['{"n":4}', '{"n":6,"s":"y"}']);
  });

  it("prints nothing from the wire that a terminal would act on", async () => {
    const ns = crypto.randomUUID();
    const hostile = "\x1b]52;c;ZXZpbA==\x07\x9b2J\ntsmq: done\u202e";
    await server.run("lpush", `__eventbus:${ns}:${hostile}`, JSON.stringify(hostile), JSON.stringify({ [hostile]: 1 }));
    await using bus = await Bus.open(redis({ url }), { namespace: ns });
    await bus.expose("fail", () => Promise.reject(Object.assign(new Error(hostile), { name: hostile })));
    await bus.expose(hostile, () => {});
    const runs: Record<string, [args: string[], code: number]> = {
      top: [["top", url, "-c", "1", "-i", "50"], 0],
      queues: [["queues", url], 0],
      who: [["who", url], 0],
      peek: [["peek", url, hostile], 0],
      "top --json": [["top", url, "-c", "1", "-i", "50", "--json"], 0],
      "queues --json": [["queues", url, "-i", "50", "--json"], 0],
      get: [["get", url, hostile, "-c", "2"], 0],
      "get of an empty queue": [["get", url, hostile], 3],
      call: [["call", url, "fail"], 8],
      "call --multi": [["call", url, "fail", "--multi"], 0],
    };
    for (const [what, [args, code]] of Object.entries(runs)) {
      const run = await inside([...args, "-n", ns]);
      assertEquals(run.code, code, run.output);
      assertMatch(run.output, /\\u001b/, what);
      const lines = run.output.replace(/\n(?! )/g, "\n ").trim();
      assertEquals(printableLines(lines), lines, what);
      assertEquals(/^tsmq: done/m.test(run.output), false, what);
    }
  });

  it("reap removes expired registrations", async () => {
    const ns = crypto.randomUUID();
    const key = `__tsmq:servers:__eventbus:${ns}:add`;
    await server.run("zadd", key, 1, "__tsmq:inbox:dead", 9_999_999_999_999, "__tsmq:inbox:live");
    const { code, lines } = await tsmq(["reap", url, "-n", ns]);
    assertEquals([code, lines], [0, ['{"removed":"1 expired registration(s) of add"}']]);
    assertEquals(await server.run("zrange", key, 0, -1), ["__tsmq:inbox:live"]);
  });

  it("reap and doctor leave out the middle of a name of megabytes", async () => {
    const ns = crypto.randomUUID();
    await server.run("zadd", `__tsmq:servers:__eventbus:${ns}:${"n".repeat(2_000_000)}`, 1, "__tsmq:inbox:dead");
    for (const args of [["doctor"], ["doctor", "--json"], ["reap"]]) {
      const { stdout, output } = await inside([...args, url, "-n", ns]);
      assert(output.length < 20_000, `${args} prints ${output.length} characters`);
      const line = stdout.split("\n").find((line) => line.includes("expired registration"))!;
      assertMatch(line, /1 expired registration\(s\) of n+ … \(\d+ characters\) … n+/);
    }
  });

  it("reports wrong usage in one line, with exit code 2", async () => {
    const wrong = async (...args: string[]) => {
      const { code, errors } = await tsmq(args);
      assertEquals([code, errors.length], [2, 1]);
      return errors[0]!;
    };
    assertEquals((await tsmq(["gett"], { own: true })).code, 2);
    assertMatch(await wrong("gett"), /unknown command; did you mean `get`\?$/);
    assertMatch(await wrong("publish"), /unknown command; did you mean `pub`\?$/);
    assertMatch(await wrong("foo"), /unknown command; see tsmq --help$/);
    assertMatch(await wrong("get", url), /Expected argument for queue/);
    assertMatch(await wrong("get", url, "q", "--nope"), /nope/);
    assertMatch(await wrong("get", url, "q", "\x1b[31m\u202ex"), /Too many arguments.*\\u001b\[31m\\u202ex/);
    assertMatch(await wrong("get", url, "q", "--\x1b[31m"), /--\\u001b\[31m/);
    assertMatch(await wrong("get", url, "q", "-c", "none"), /must be a number of at least 1/);
    assertMatch(await wrong("sub", url, "t", "-c", "1.5"), /must be a whole number/);
    assertMatch(await wrong("pub", url, "t", "{a:1}"), /as JSON/);
    assertMatch(await wrong("pub", url, "t", "hello"), /use --text/);
    assertMatch(await wrong("pub", "http://user:secret@x", "t", "1"), /^tsmq: (?!.*secret)Cannot use a URL/);
    const hidden = "redis://user:se/cr@et@host/0";
    for (
      const args of [[], ["queues", "memory:"], ["queues", `--nam=${hidden}`], ["put", url, "jobs"], [`--${hidden}`]]
    ) {
      assertMatch(await wrong(...args, hidden), /^tsmq: (?!.*(user|cr@et))/);
    }
    assertMatch(
      await wrong("serve", url, fileURLToPath(new URL("run.ts", import.meta.url)).replace("run", "absent")),
      /Cannot serve/,
    );
  });

  it("its exit code tells an unreachable server from a wrong password", async () => {
    const down = await tsmq(["pub", "redis://127.0.0.1:1", "t", "1"], { own: true });
    assertEquals([down.code, down.errors.length], [5, 1]);
    await using locked = await RedisServer.start({ password: "right" });
    const denied = await tsmq(["pub", locked.url.replace("right", "wrong"), "t", "1"], { own: true });
    assertEquals([denied.code, denied.errors.length], [6, 1]);
  });

  it("prints --help, even without any permission", async () => {
    const { code, lines } = await tsmq(["--help"], { permissions: [] });
    assertEquals(code, 0);
    const one = "sub,pub,put,get,peek,purge,call,serve,queues,who,top,ui,bench,doctor,reap,completion".split(",");
    const two = "dead list,dead show,dead retry,dead purge,groups list,groups free".split(",");
    const commands = [...one, ...two];
    await using helps = Peer.start<Printed>(new URL("helps.ts", import.meta.url), { args: commands, permissions: [] });
    for (const command of commands) {
      assert(lines.some((line) => line.startsWith(`  ${command.split(" ")[0]} `)), command);
      const help = await helps.next();
      assertEquals(help.code, 0);
      const printed = help.stdout.split("\n");
      assert(printed.filter((line) => line.startsWith(`  tsmq ${command} `)).length >= 3, `${command} has examples`);
      for (const line of printed.filter((line) => /^ +-t\b/.test(line))) {
        assertMatch(line, /-t \[?--timeout\]?.* [Mm]illiseconds/);
      }
    }
  });

  it("completes commands, flags and URLs", async () => {
    const complete = async (...words: string[]) =>
      (await tsmq(["complete", "--", ...words])).lines.map((line) => line.split("\t")[0]);
    assertEquals(await complete("s"), ["sub", "serve"]);
    assertEquals(await complete("get", "red"), ["redis://localhost"]);
    assertEquals(await complete("get", url, "q", "--co"), ["--count"]);
    assertEquals(await complete("completion", "z"), ["zsh"]);
    assertMatch((await tsmq(["completion", "fish"])).lines.join(), /complete -c tsmq/);
  });
});
