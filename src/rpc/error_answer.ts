/**
 * The answer of a function that threw: the part of the error that callers receive.
 *
 * @module
 */
import type { ExposedError, ExposeErrors } from "../hooks.ts";
import { complain } from "../internal/complain.ts";
import { isA, nameOf, stackOf, textOf } from "../internal/thrown.ts";
import { type Answer, UNADDRESSED } from "./wire.ts";

/** The error that callers receive if the function `exposeErrors` fails. */
const HIDDEN: ExposedError = { name: "Error", message: "the function threw" };

/** Creates the answer of a function that threw. The server adds its inbox before it sends the answer. */
export function errorAnswer(fn: string, error: unknown, expose: ExposeErrors): Answer<string> {
  const { name, message } = typeof expose === "function"
    ? mapped(expose, error)
    : { name: nameOf(error), message: textOf(error) };
  const stack = expose === true ? stackOf(error) : undefined;
  const answer = { fn, isError: true, result: JSON.stringify([message]), resultType: name };
  return stack === undefined ? answer : { ...answer, call: { ...UNADDRESSED, stack } };
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
