import { buildCommand } from "@stricli/core";
import { RpcError, ValidationError } from "../../src/errors.ts";
import { isA } from "../../src/internal/thrown.ts";
import type { Bus } from "../../mod.ts";
import { fromJson, line, lines, print, toJson, values } from "../io.ts";
import { BUS_FLAGS, type BusFlags, number, URL_ARGUMENT, withBus } from "../session.ts";

interface Flags extends BusFlags {
  readonly multi: boolean;
  readonly stdin: boolean;
  readonly stream: boolean;
  readonly text: boolean;
  readonly timeout: number;
}

/** Yields the list of arguments of each call. */
async function* calls(flags: Flags, args: readonly string[], signal: AbortSignal): AsyncGenerator<unknown[]> {
  if (!flags.stdin) return yield args.length === 0 ? [] : await Array.fromAsync(values(args, flags.text, signal));
  for await (const text of lines(signal)) {
    const list = await fromJson(text);
    if (!Array.isArray(list)) throw new ValidationError(`Cannot call with ${text}: it is not an array of arguments`);
    yield list;
  }
}

interface CallOptions {
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/** Prints the values of a stream until it ends or Ctrl-C. */
async function printStream(bus: Bus, name: string, args: readonly unknown[], options: CallOptions): Promise<void> {
  try {
    for await (const value of bus.stream(name, options)(...args)) await print(toJson(value));
  } catch (error) {
    if (!options.signal.aborted) throw error;
  }
}

/** Returns the error of a call in the words of this command, which has a flag in place of two functions. */
function inFlags(error: unknown): unknown {
  if (!isA(error, RpcError)) return error;
  const text = error.message.replace(
    " through a stub: its result is a stream; use stream()",
    ": its result is a stream; pass --stream",
  )
    .replace("; use stub()", "; leave out --stream");
  return text === error.message ? error : new RpcError(error.code, text);
}

/** Makes one call, and prints its results. */
async function callOnce(
  bus: Bus,
  flags: Flags,
  name: string,
  args: readonly unknown[],
  options: CallOptions,
): Promise<void> {
  if (flags.stream) return await printStream(bus, name, args, options);
  if (!flags.multi) return await print(toJson(await bus.stub(name, options)(...args)));
  for (const result of await bus.stub(name, { ...options, multi: true })(...args)) {
    const { status } = result;
    const value = status === "fulfilled" ? toJson(result.value) : undefined;
    const reason = status === "rejected" ? JSON.stringify(result.reason.message) : undefined;
    await print(line({ status: JSON.stringify(status), value, reason }));
  }
}

/** The command `tsmq call`. */
export const command = buildCommand({
  func: (flags: Flags, url: string, name: string, ...args: string[]) =>
    withBus(url, flags, async (bus, signal) => {
      const options = { timeout: flags.timeout, signal };
      for await (const list of calls(flags, args, signal)) {
        await callOnce(bus, flags, name, list, options).catch((error) => Promise.reject(inFlags(error)));
      }
    }),
  parameters: {
    flags: {
      ...BUS_FLAGS,
      multi: { kind: "boolean", brief: "Call every server of the function", default: false, withNegated: false },
      stdin: {
        kind: "boolean",
        brief: "Make one call for each line of standard input, an array of arguments",
        default: false,
        withNegated: false,
      },
      stream: {
        kind: "boolean",
        brief: "Print the values of a stream, one on each line, until it ends or Ctrl-C",
        default: false,
        withNegated: false,
      },
      text: { kind: "boolean", brief: "The arguments are strings, not JSON", default: false, withNegated: false },
      timeout: {
        kind: "parsed",
        parse: number(),
        brief: "Milliseconds that a call, or the next value of a stream, may take",
        default: "30000",
      },
    },
    aliases: { n: "namespace", m: "multi", t: "timeout" },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: { ...URL_ARGUMENT, brief: "The transport, the function, then arguments", placeholder: "url fn arg" },
    },
  },
  docs: {
    brief: "Call a function and print its result as JSON",
    fullDescription: [
      "Exit code 7: no server serves the function. 8: it threw. 4: no answer in time.",
      'With --multi, one line for each server: {"status":"fulfilled","value":…} or {"status":"rejected","reason":…}.',
    ].join("\n"),
    customUsage: [
      "<url> <function> [<argument>...] [flags]",
      { input: "redis://localhost add 1 2", brief: "3" },
      { input: "redis://localhost greet --text World", brief: "a string as the argument" },
      { input: "redis://localhost add -- -1 2", brief: "after --, no argument is a flag" },
      { input: "redis://localhost status --multi", brief: "ask every server" },
      { input: "redis://localhost count 3 --stream", brief: "each value as it comes" },
      { input: "redis://localhost add --stdin < pairs.ndjson", brief: "[1,2] on each line" },
    ],
  },
});
