/** Parses the JUnit report of a test runner. */

/** The outcome of one test. */
export interface Case {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly seconds: number;
  /** Why it failed: the error, with its stack and causes. */
  readonly failure?: string;
}

/** Returns the tests of a report without groups, which Deno reports as cases: the names of their tests begin with theirs. */
export function parse(xml: string): Case[] {
  const cases = [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(
    ([, head, body = ""]): Case => {
      const name = [...groups(attribute(head!, "classname")), attribute(head!, "name")].join(" > ");
      const seconds = Number(attribute(head!, "time"));
      const failure = /<(failure|error)\b[^>]*?(?:\/>|>([\s\S]*?)<\/\1>)/.exec(body);
      if (failure) return { name, outcome: "failed", seconds, failure: unescape(failure[2] ?? "") };
      return { name, outcome: /<skipped\b/.test(body) ? "skipped" : "passed", seconds };
    },
  );
  const names = cases.map(({ name }) => name).sort();
  return cases.filter(({ name }) => !isGroup(name, names));
}

/** Whether this is the name of a group: other names begin with it. */
function isGroup(name: string, sorted: readonly string[]): boolean {
  return sorted.some((other) => other.startsWith(`${name} > `));
}

/** Bun names the groups in the class, innermost first; Deno names the file there. */
function groups(classname: string): string[] {
  return /^(\.\/|ext:|file:)/.test(classname) || classname === "" ? [] : classname.split(" > ").reverse();
}

function attribute(head: string, name: string): string {
  return unescape(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(head)?.[1] ?? "");
}

function unescape(text: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, entity) => {
    if (decimal || hex) return String.fromCodePoint(decimal ? Number(decimal) : parseInt(hex, 16));
    return entities[entity] ?? whole;
  });
}
