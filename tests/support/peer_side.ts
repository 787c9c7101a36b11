/** The side of the process that a `Peer` started. */
import process from "node:process";

/** Says a value to the test. */
export function say(value: unknown): void {
  process.stdout.write(`@${JSON.stringify(value ?? null)}\n`);
}

/** What the test tells, until it closes this end or is gone. */
export async function* told<Value = unknown>(): AsyncGenerator<Value> {
  let rest = "";
  process.stdin.setEncoding("utf8");
  for await (const text of process.stdin) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as Value;
  }
}
