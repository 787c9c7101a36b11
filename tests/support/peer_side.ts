/** The other end of a `Peer`, in the process that it started. */
import process from "node:process";

/** Sends a value to the test. */
export function say(value: unknown): void {
  process.stdout.write(`@${JSON.stringify(value ?? null)}\n`);
}

/** Yields the values that the test sends, until the test ends or closes the standard input. */
export async function* told<Value = unknown>(): AsyncGenerator<Value> {
  let rest = "";
  process.stdin.setEncoding("utf8");
  for await (const text of process.stdin) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as Value;
  }
}
