/** The load: prebuilt PUBLISH commands over a plain socket, so that the generator is never the limit. @module */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { channelOf, order } from "./side.ts";

/** Commands in one prebuilt chunk. */
const CHUNK = 500;
/** The largest number of chunks without replies. */
const AHEAD = 8;

/** A plain connection that publishes. */
export class Load {
  #socket: Socket;
  #replies = 0;
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (data: Uint8Array) => {
      for (const byte of data) if (byte === 0x0a) this.#replies++;
      this.#wake?.();
    });
  }

  /** Connects to the server. */
  static async open(port: number): Promise<Load> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new Load(socket);
  }

  /** Publishes `count` events, round-robin over the topics. Resolves with the events a second that the server accepted. */
  async publish(topics: readonly string[], count: number): Promise<number> {
    const chunks = prebuilt(topics, count);
    this.#replies = 0;
    const start = performance.now();
    for (let i = 0; i < chunks.length; i++) {
      await this.#replied((i - AHEAD) * CHUNK);
      this.#socket.write(chunks[i]!);
    }
    await this.#replied(count);
    return count / (performance.now() - start) * 1_000;
  }

  /** Ends the connection. */
  close(): void {
    this.#socket.destroy();
  }

  async #replied(count: number): Promise<void> {
    while (this.#replies < count) await new Promise<void>((resolve) => this.#wake = resolve);
  }
}

const cache = new Map<string, Buffer[]>();

function prebuilt(topics: readonly string[], count: number): Buffer[] {
  const key = `${topics.length}:${topics[0]}:${count}`;
  const known = cache.get(key);
  if (known) return known;
  const chunks: Buffer[] = [];
  for (let at = 0; at < count; at += CHUNK) {
    let text = "";
    for (let i = at; i < Math.min(count, at + CHUNK); i++) {
      const channel = channelOf(topics[i % topics.length]!);
      const body = JSON.stringify(order(i));
      text += `*3\r\n$7\r\nPUBLISH\r\n$${Buffer.byteLength(channel)}\r\n${channel}\r\n`;
      text += `$${Buffer.byteLength(body)}\r\n${body}\r\n`;
    }
    chunks.push(Buffer.from(text));
  }
  cache.set(key, chunks);
  return chunks;
}
