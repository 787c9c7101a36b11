import { assertEquals } from "@std/assert";
import { describe } from "@std/testing/bdd";
import * as v from "valibot";
import { Codec } from "../../src/codec/codec.ts";
import { readEvents, readItem, writeItem, writePymq } from "../../src/providers/ipc/frames.ts";
import { readAnswer, readRequest, writeAnswer, writeRequest } from "../../src/rpc/wire.ts";
import { Peer } from "../support/peer.ts";
import { itNeeds } from "../support/skip.ts";
import { missing } from "../support/tools.ts";
import vectors from "../vectors/pymq.json" with { type: "json" };

class MyEvent {
  static readonly topic = "__main__.MyEvent";
}
class EventWithPayload {
  static readonly topic = "__main__.EventWithPayload";
}
class Order {
  static readonly topic = "__main__.Order";
}
class Payload {
  static readonly topic = "__main__.Payload";
  static readonly schema = v.pipe(
    v.tuple([v.string(), v.number()]),
    v.transform(([name, value]) => ({ name, value })),
  );
}

const codec = new Codec([MyEvent, EventWithPayload, Order, Payload]);

/** Returns tsmq's body for the value of a PyMQ body. */
async function again(body: string): Promise<string> {
  return codec.encode((await codec.decode(body)).value);
}

async function sameRequest(body: string): Promise<string> {
  const { fn, channel, args } = readRequest((await codec.decode(body)).value)!;
  return writeRequest(fn, channel, codec.write(args), { id: "i", inbox: "b", deadline: 0 });
}

async function sameAnswer(body: string): Promise<string> {
  const answer = readAnswer((await codec.decode(body)).value)!;
  return writeAnswer({ ...answer, result: codec.write(answer.result).json });
}

/** Sends a message to a bus on POSIX IPC, which reads it and writes it again. */
async function sameEvent(message: string): Promise<string> {
  const { topic, body } = readEvents(bytes(message))![0]!;
  const same = body.includes("pymq.core.RpcRequest") ? await sameRequest(body) : await again(body);
  return text(writePymq(topic, same));
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("PyMQ's messages, read and written again by tsmq, are equal objects in Python", () => {
  itNeeds(missing("python"))("each vector", async () => {
    await using python = Peer.start<unknown>(new URL("vectors.py", import.meta.url));
    assertEquals(await python.next(), "ready");
    const pairs: [string, string, string][] = [];
    for (const { data } of vectors.events) pairs.push(["value", data, await again(data)]);
    for (const { value } of vectors.queue_items) pairs.push(["value", value, await again(value)]);
    for (const { request, response } of vectors.rpc) {
      pairs.push(["request", request, await sameRequest(request)]);
      pairs.push(["response", response, await sameAnswer(response)]);
    }
    for (const { message } of vectors.ipc.loop) pairs.push(["loop", message, await sameEvent(message)]);
    for (const { message } of vectors.ipc.answers) {
      pairs.push(["response", message, await sameAnswer(readItem(bytes(message)).text)]);
    }
    for (const { message } of vectors.ipc.queue_items) {
      pairs.push(["value", message, text(writeItem(await again(readItem(bytes(message)).text), false))]);
    }
    for (const pair of pairs) assertEquals([pair[1], await python.ask(pair)], [pair[1], true]);
  });
});
