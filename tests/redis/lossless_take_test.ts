import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { ProviderError } from "../../src/errors.ts";
import type { Client } from "../../src/providers/redis/client.ts";
import { Names } from "../../src/providers/redis/names.ts";
import { LosslessTaker } from "../../src/providers/redis/lossless_take.ts";
import type { ReplyReader } from "../../src/providers/redis/replies.ts";

describe("LosslessTaker", () => {
  it("fetches the items of a lost reply again, under the number of that take", async () => {
    const takes: { number: string; mode: string }[] = [];
    const client = {
      up: true,
      call: (read: ReplyReader<unknown>, _verb: string, _sha: string, ...rest: string[]) => {
        const [number, , , mode] = rest.slice(7) as [string, string, string, string];
        takes.push({ number, mode });
        if (takes.length === 1) return Promise.reject(new ProviderError("unavailable", "the connection broke"));
        const item = takes.length === 2 ? [Buffer.from(""), 1, Buffer.from("item")] : [];
        return Promise.resolve(read([Buffer.from(number), -1, [], ...item]));
      },
    } as unknown as Client;
    const keys = new Names("shop").queue("queue");
    const taker = new LosslessTaker(client, keys, "id", "queue", undefined, 1_000, () => {});
    const { signal } = new AbortController();
    await assertRejects(() => taker.take(1, signal), ProviderError);
    assertEquals([taker.lost, taker.uncertain], [true, 1]);
    assertEquals((await taker.take(1, signal)).deliveries.map(({ body }) => body), ["item"]);
    assertEquals([taker.lost, taker.uncertain], [false, 0]);
    await taker.take(1, signal);
    const [first, again, next] = takes as [typeof takes[0], typeof takes[0], typeof takes[0]];
    assertEquals([first.mode, again.mode, next.mode], ["", "again", ""]);
    assertEquals([again.number === first.number, next.number === first.number], [true, false]);
    await taker.idle();
  });
});
