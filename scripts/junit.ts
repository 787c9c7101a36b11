/** What a test runner's JUnit report says. */

/** The outcome of one test. */
export interface Case {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
}

/** The tests of a report, groups left out: Deno reports a group as one more case, whose name its tests' names begin with. */
export function parse(xml: string): Case[] {
  const cases = [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(([, head, body = ""]) => ({
    name: [...groups(attribute(head!, "classname")), attribute(head!, "name")].join(" > "),
    outcome: /<(failure|error)\b/.test(body) ? "failed" : /<skipped\b/.test(body) ? "skipped" : "passed",
  } as const));
  const names = cases.map(({ name }) => name).sort();
  return cases.filter(({ name }) => !isGroup(name, names));
}

/** The name is followed, in order, by those that begin with it. */
function isGroup(name: string, sorted: readonly string[]): boolean {
  return sorted.some((other) => other.startsWith(`${name} > `));
}

/** Bun names the groups in the class, innermost first; Deno names the file there. */
function groups(classname: string): string[] {
  return /^(\.\/|ext:|file:)/.test(classname) || classname === "" ? [] : classname.split(" > ").reverse();
}

function attribute(head: string, name: string): string {
  const value = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(head)?.[1] ?? "";
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return value.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, decimal, hex, entity) => {
    if (decimal || hex) return String.fromCodePoint(decimal ? Number(decimal) : parseInt(hex, 16));
    return entities[entity] ?? whole;
  });
}
