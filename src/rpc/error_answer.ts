/**
 * The answer of a call that failed: the part of the error that callers receive, and the error that they make of it.
 *
 * @module
 */
import { BusError, RemoteInvocationError } from "../errors.ts";
import type { ExposedError, ExposeErrors } from "../hooks.ts";
import { complain } from "../internal/complain.ts";
import { isA, nameOf, stackOf, textOf } from "../internal/thrown.ts";
import { argumentsOf } from "./arguments.ts";
import { type Answer, refusal, UNADDRESSED } from "./wire.ts";

/** The error that callers receive if the function `exposeErrors` fails. */
const HIDDEN: ExposedError = { name: "Error", message: "the function threw" };

/**
 * Creates the answer of a function that threw, or that did not run because the arguments were `refused`. The server adds its inbox before it
 * sends the answer.
 */
export function errorAnswer(fn: string, error: unknown, expose: ExposeErrors, refused = false): Answer<string> {
  const { name, message } = typeof expose === "function"
    ? mapped(expose, error)
    : { name: nameOf(error), message: textOf(error) };
  const stack = expose === true ? stackOf(error) : undefined;
  const invalid = refused && typeof expose !== "function";
  const answer = { fn, isError: true, result: JSON.stringify([message]), resultType: name };
  if (stack === undefined && !invalid) return answer;
  return { ...answer, call: { ...UNADDRESSED, ...stack !== undefined && { stack }, ...invalid && { invalid } } };
}

/** Creates the answer of a function that the closing of its server has ended, so that its outcome is not known. */
export function forgottenAnswer(fn: string): Answer<string> {
  return refusal(fn, { ...UNADDRESSED, refused: "forgotten" });
}

/** Creates the answer of a function that has run, while too much is held for callers. */
export function unheldAnswer(fn: string, expose: ExposeErrors): Answer<string> {
  const what = "make fewer calls at once, or serve a stream";
  const text = `Cannot answer a call of "${fn}": too many large answers wait for their callers; ${what}`;
  return errorAnswer(fn, new BusError("busy", text), expose);
}

/** Returns the error of the caller for an answer that is an error. */
export function remoteError({ fn, result, resultType, call }: Answer): RemoteInvocationError {
  const args: readonly unknown[] = Array.isArray(result) ? result : [result];
  if (call?.invalid !== true) return new RemoteInvocationError(fn, resultType, args, call?.stack);
  const text = textOf(args[0]);
  const prefix = `Cannot accept ${argumentsOf(fn)}: `;
  const why = text.startsWith(prefix) ? text.slice(prefix.length) : text;
  const reason = `the server refused the arguments: ${why}`;
  return Object.assign(new RemoteInvocationError(fn, resultType, args, call.stack, reason), {
    code: "invalid" as const,
  });
}

function mapped(expose: (error: unknown) => ExposedError, error: unknown): ExposedError {
  try {
    const shown = expose(error);
    if (isA(shown, Promise)) shown.catch(() => {}); // reported below; its rejection must not end the program
    const { name, message } = shown;
    if (typeof name === "string" && typeof message === "string") return { name, message };
    complain("the function exposeErrors must return { name, message } with two strings, but returned", {
      name,
      message,
    });
  } catch (thrown) {
    complain("the function exposeErrors threw:", thrown);
  }
  return HIDDEN;
}
