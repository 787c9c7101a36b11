import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import * as v from "valibot";
import { Bus, memory, ValidationError } from "../mod.ts";
import { Codec } from "../src/codec/codec.ts";

class Basket {
  static readonly topic: string = "shop.Basket";
  list: string[] = [];
  #sum = 0;
  constructor(readonly id: string) {}
  static revive({ id, list }: Record<string, unknown>): Basket {
    const basket = new Basket(id as string);
    basket.add(...list as string[]);
    return basket;
  }
  add(...names: string[]): void {
    this.list.push(...names);
    this.#sum += names.length;
  }
  get sum(): number {
    return this.#sum;
  }
}

class Checked extends Basket {
  static override readonly topic: string = "shop.Checked";
  static readonly schema = v.object({ id: v.string(), list: v.array(v.string()) });
  static override revive(fields: Record<string, unknown>): Checked {
    return Object.assign(new Checked(fields.id as string), { list: fields.list });
  }
}

/** It inherits a `revive`, which does not know its fields. */
class Heir extends Basket {
  static override readonly topic: string = "shop.Heir";
}

const codec = new Codec([Basket, Checked, Heir]);

function read(body: string): unknown {
  return (codec.decode(body) as { value: unknown }).value;
}

describe("static revive of a class", () => {
  it("makes the instances, with the fields of its constructor and initialisers", () => {
    const basket = new Basket("b-1");
    basket.add("soap", "tea");
    const [nested] = [read(codec.encode({ in: [basket] })) as { in: [Basket] }];
    for (const made of [read(codec.encode(basket)) as Basket, nested.in[0]]) {
      assert(made instanceof Basket);
      made.add("jam");
      assertEquals([made.id, made.list, made.sum], ["b-1", ["soap", "tea", "jam"], 3]);
    }
  });

  it("gets the output of the schema of the class", () => {
    const checked = new Checked("b-2");
    assert(read(codec.encode(checked)) instanceof Checked);
    assertThrows(() => read('{"id":7,"list":[],"__type":"shop.Checked"}'), ValidationError);
  });

  it("is the class's own, not an inherited one", () => {
    const heir = read(codec.encode(new Heir("b-3"))) as Heir;
    assert(heir instanceof Heir);
    assertThrows(() => heir.sum, TypeError); // no constructor ran
  });

  it("is refused, with the body in the error, where it throws or returns something else", () => {
    for (
      const revive of [() => ({}), () => Promise.reject(new Error("late")), () => JSON.parse("{"), () => undefined]
    ) {
      class Wrong {
        static readonly topic = "shop.Wrong";
        static revive = revive as never;
      }
      const body = '{"__type":"shop.Wrong"}';
      const error = assertThrows(() => new Codec([Wrong]).decode(body), ValidationError, 'Cannot revive "shop.Wrong"');
      assertEquals(error.body, body);
    }
  });

  it("makes the instances for subscribers, queues and calls", async () => {
    await using bus = await Bus.open(memory(), { types: [Basket] });
    const seen = Promise.withResolvers<Basket>();
    bus.subscribe(Basket, seen.resolve);
    await bus.publish(new Basket("b-4"));
    await bus.queue("baskets").put(new Basket("b-5"));
    await bus.expose("same", (basket: Basket) => basket);
    const result = await bus.stub<(basket: Basket) => Basket>("same")(new Basket("b-6"));
    for (const basket of [await seen.promise, await bus.queue<Basket>("baskets").get(), result]) {
      assertEquals([basket.sum, basket.list], [0, []]);
    }
    await bus.subscribe(Heir, () => {}).ready;
    await assertRejects(() => bus.publish({}), ValidationError);
  });
});
