/** The values that the two versions send each other. */

class Item {
  constructor(readonly name: string, readonly price = 1) {}
  get label(): string {
    return `${this.name} (${this.price})`;
  }
}
class Order {
  static readonly topic = "shop.Order";
  constructor(readonly id: string, readonly items: Item[] = [], readonly at?: Date) {
    if (at === undefined) delete (this as { at?: Date }).at;
  }
}

/** The classes that both versions register. */
export const types = [Item, Order];

const AT = new Date(Date.UTC(2026, 0, 2));

/** Values that both versions write and read alike, alone and nested. */
export const PLAIN: unknown[] = [
  ...[
    0,
    -1.5,
    -0,
    2 ** 60,
    NaN,
    "",
    'ü☃ "\\',
    true,
    null,
    [],
    [1, [null, "a"]],
    {},
    { a: { b: [{ c: null }] } },
    2n ** 60n,
  ],
  ...[new Item("a"), new Order("o", [new Item("a"), new Item("b", 2)]), [new Order("o"), new Order("p")]],
  ...[{ nested: [new Item("c")] }, [new Item("a"), 1]],
];

/** Values that both versions write and read alike as a whole body. */
export const SAME: unknown[] = [
  ...PLAIN,
  ...[undefined, AT, new Date(NaN), new Set([1, "a"]), new Uint8Array([1, 255])],
  ...[{ __type: "tuple", __obj: 1 }, { __undefined: ["a"] }],
];

/** Values that need marks: the version before reads the bare value, as Python does. */
export const BARE: [value: unknown, bare: unknown][] = [
  [[new Item("a")], [{ name: "a", price: 1 }]],
  [{ at: AT }, { at: "2026-01-02T00:00:00.000Z" }],
  [[AT, undefined, 5n], ["2026-01-02T00:00:00.000Z", null, 5]],
  [7n, 7],
  [{ a: 1, b: undefined }, { a: 1 }],
  [{ s: new Set(["t"]), m: new Map([["k", 1]]) }, { s: ["t"], m: { k: 1 } }],
  [new Map([[1, new Uint8Array([255])]]), [[1, "/w=="]]],
  [
    new Order("o", [new Item("a")], AT),
    Object.assign(new Order("o", [new Item("a")]), { at: "2026-01-02T00:00:00.000Z" }),
  ],
];

/** All values. */
export const ALL: unknown[] = [...SAME, ...BARE.map(([value]) => value)];
