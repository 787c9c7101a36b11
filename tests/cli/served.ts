import type { Bus } from "../../mod.ts";

export const add = (a: number, b: number): number => a + b;

export function hello(name: string): string {
  return `hello ${name}`;
}

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

export const _internal = (): string => "not served";

export default function setUp(bus: Bus): void {
  bus.subscribe("broken", () => {
    throw new Error("one line\n  and another");
  });
  bus.queue<number>("in").consume((item) => bus.queue("out").put(item * 2));
}
