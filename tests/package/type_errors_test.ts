// run: deadline 240
/**
 * The compiler's errors of wrong calls: each is about the wrong argument, although most verbs have several overloads. On Deno, the examples of the
 * README and of docs/ have none; they are checked at the same time, because the check of the package takes longest.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { removeDir } from "../support/child.ts";
import { EXAMPLES } from "../support/docs.ts";
import { here } from "../support/peer.ts";
import { makeProject } from "../support/project.ts";
import { tool } from "../support/tools.ts";

/** Milliseconds that a compiler may take. */
const LONG = 100_000;

const HEAD = `
import { type Bus, type Contract, memory, procedure, type StandardSchemaV1, type StreamContract } from "@tsmq/tsmq";
import * as tsmq from "@tsmq/tsmq";
declare const bus: Bus;
declare const price: StandardSchemaV1<{ symbol: string }>;
declare const tuple: StandardSchemaV1<[string]>;
declare const length: Contract<StandardSchemaV1<[string]>, StandardSchemaV1<number>>;
declare const rows: StreamContract<undefined, StandardSchemaV1<number>>;
const plain = procedure<(id: number) => boolean>("plain");
declare const numbers: tsmq.Topic<number>;
declare function divide(a: number, b: number): number;
declare function alphabet(): AsyncGenerator<string>;
class Order { total(): number { return 1; } }
`;

const typo = (name: string) => `'${name}' does not exist in type`;
const NO_STREAM = "its result is not a stream: call it with stub()";
const STREAM = "its result is a stream: read it with stream()";

/** A wrong call of `bus` or of the module, and the end of what its error says. */
const CALLS: readonly (readonly [call: string, error: string])[] = [
  ['expose(length, () => "many")', "Type 'string' is not assignable to type 'number | Promise<number>'"],
  ["expose(length, (text: Date) => text.getTime())", "Type 'string' is not assignable to type 'Date'"],
  ["expose(plain, () => 1)", "Type 'number' is not assignable to type 'boolean | Promise<boolean>'"],
  ['expose(rows, async function* () { yield "x"; })', "Type 'string' is not assignable to type 'number'"],
  ["expose(length, (text) => text.length, { concurency: 1 })", typo("concurency")],
  ["expose(length)", "a procedure needs a function: expose(procedure, fn)"],
  ["expose(plain, { concurrency: 1 })", "'concurrency' does not exist in type"],
  ['expose("divide")', "Type 'string' is not assignable to type 'object'"],
  ["expose(divide, { concurency: 1 })", typo("concurency")],
  ['expose("divide", divide, { concurency: 1 })', typo("concurency")],
  ["expose(divide, {}, {})", "Argument of type '{}' is not assignable to parameter of type 'undefined'"],
  ["expose(new Order(), { concurency: 1 })", typo("concurency")],
  ['expose(new Order(), "totl")', "Argument of type '\"totl\"' is not assignable to parameter"],
  ['stub(plain)("1")', "Argument of type 'string' is not assignable to parameter of type 'number'"],
  ["stub(plain, { timout: 1 })", typo("timout")],
  ["stub(divide, { timout: 1 })", typo("timout")],
  ['stub("divide", { timout: 1 })', typo("timout")],
  ['stub<typeof divide>("divide", { timout: 1 })', typo("timout")],
  ["stub(Order, { multi: true, timout: 1 })", typo("timout")],
  ["stub(rows)", STREAM],
  ["stub(alphabet)", STREAM],
  ["stream(length)", NO_STREAM],
  ["stream(divide)", NO_STREAM],
  ["stream(rows, { timout: 1 })", typo("timout")],
  ['stream("divide", { multi: true })', typo("multi")],
  ['subscribe("x", (event) => event.symbol, { schema: price, concurency: 1 })', typo("concurency")],
  [
    'subscribe("x", (event: number) => event, { schema: price })',
    "Type '{ symbol: string; }' is not assignable to type 'number'",
  ],
  ['subscribe("x", (event: Order) => event.total(), { concurency: 1 })', typo("concurency")],
  ["subscribe(Order, (event) => event.total(), { concurency: 1 })", typo("concurency")],
  ["subscribe(numbers, (event) => event.toFixed(), { concurency: 1 })", typo("concurency")],
  ["subscribe(numbers, (event: Order) => event)", "Type 'number' is not assignable to type 'Order'"],
  ["subscribe(Order, (event: string) => event)", "Type 'Order' is not assignable to type 'string'"],
  ['subscribe("x", () => {}, { group: 7 })', "Type 'number' is not assignable to type 'string'"],
  ['queue("x", { schema: price, typo: 1 })', typo("typo")],
  ['queue("x", { maxAttempts: 3 })', typo("maxAttempts")],
  ['topic("x", { schema: price, patern: true })', typo("patern")],
  ['topic("x", { patern: true })', typo("patern")],
  ['queue("x").consume(() => {}, { concurency: 1 })', typo("concurency")],
  ['publish("x", "y", { header: {} })', typo("header")],
];
const OTHERS: typeof CALLS = [
  ["tsmq.init(memory(), { timout: 1 })", typo("timout")],
  ['procedure("x", { args: tuple, result: price })', typo("result")],
  ['procedure("x", { args: price })', "args must be a schema of a tuple (the list of arguments)"],
  ['bus.subscriber("x", { patern: true })', typo("patern")],
];

/** Returns the errors of the compiler of this runtime in these files: the file, the line, and the text. */
function errorsOf(dir: string, files: readonly string[]): [file: string, line: number, text: string][] {
  const tsc = [join(dir, "node_modules/typescript/bin/tsc"), "--project", dir, "--pretty", "false", "--noEmit"];
  const options = ["--strict", "--target", "esnext", "--module", "preserve", "--allowImportingTsExtensions"];
  const args = here === "deno" ? ["check", ...files] : [...tsc, ...options];
  const env = { ...process.env, NO_COLOR: "1" };
  const { stdout, stderr } = spawnSync(tool(here), args, { cwd: dir, env, encoding: "utf8", timeout: LONG });
  const output = stdout + stderr;
  assertMatch(output, /TS\d+/);
  const found = here === "deno"
    ? output.matchAll(
      /^TS\d+ \[ERROR\]: (?<text>(?:(?!TS\d+ \[|\n +at )[^])*?)\n.*\n *[~^]+\n +at .*\/(?<file>\S+\.ts):(?<line>\d+):/gm,
    )
    : output.matchAll(/^(?<file>\S+\.ts)\((?<line>\d+),\d+\): error TS\d+: (?<text>.*(\n .*)*)/gm);
  return [...found].map(({ groups }) => [groups!.file!, Number(groups!.line), groups!.text!]);
}

describe("the compiler", () => {
  const both = CALLS.flatMap(([call, error]) => [[`bus.${call}`, error], [`tsmq.${call}`, error]] as const);
  const calls = [...both, ...OTHERS];
  let dir: string;
  let errors: ReturnType<typeof errorsOf>;
  beforeAll(() => {
    dir = makeProject();
    writeFileSync(join(dir, "calls.ts"), `${HEAD}${calls.map(([call]) => `${call};`).join("\n")}\n`);
    const examples = here === "deno" ? EXAMPLES.map((_, i) => `example_${i}.ts`) : [];
    examples.forEach((file, i) => writeFileSync(join(dir, file), EXAMPLES[i]!.code));
    errors = errorsOf(dir, ["calls.ts", ...examples]);
  });
  afterAll(() => removeDir(dir));

  it("ends its error of a wrong call with the wrong argument, for a bus and for the default bus", () => {
    const own = errors.filter(([file]) => file === "calls.ts");
    const before = HEAD.split("\n").length;
    const wrong = calls.flatMap(([call, error], i) => {
      const text = own.find(([, line]) => line === before + i)?.[2] ?? "no error";
      return text.split("\n").at(-1)!.includes(error) ? [] : [`${call}: ${text}`];
    });
    assertEquals(wrong, []);
    assertEquals(own.filter(([, line]) => line < before), []);
  });

  if (here === "deno") {
    it("finds no error in the examples of the README and docs/, nor in the package", () => {
      // the parts of an error, such as a declaration that it is about, are indented
      assertEquals(errors.filter(([file, , text]) => file !== "calls.ts" && !text.startsWith(" ")), []);
    });
  }
});
