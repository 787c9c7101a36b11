import type { Bus } from "../../mod.ts";

export const add = (a: number, b: number): number => a + b;

const greeter = { greeting: "hello" };

export const hello = function (this: typeof greeter, name: string): string {
  return `${this.greeting} ${name}`;
}.bind(greeter);

export function fail(): never {
  throw new RangeError("out of luck");
}

export class Counter {
  #count = 0;

  next(): number {
    return ++this.#count;
  }
}

export const counter: Counter = new Counter();

export const store: Map<string, string> = new Map([["key", "secret"]]);

export const list: string[] = ["secret"];

export { EventEmitter } from "node:events";

export const clone = structuredClone;

export const _internal = (): string => "not served";

export default function setUp(bus: Bus): void {
  bus.subscribe("broken", () => {
    throw new Error("one line\n  and another");
  });
  bus.queue<number>("in").consume((item) => bus.queue("out").put(item * 2));
}
