/** A peer that serves the stream `numbers` over Redis or POSIX queues, or reads the stream `theirs`, until it is killed. */
import process from "node:process";
import { Bus } from "../../mod.ts";
import { STREAM_CHECK } from "../../src/internal/time.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { redis } from "../../src/providers/redis/provider.ts";
import { say } from "../support/peer_side.ts";

const [url, namespace, role, every] = process.argv.slice(2) as [string, string, string, string];
STREAM_CHECK.every = Number(every);
const bus = await Bus.open(url === "ipc" ? ipc() : redis({ url }), { namespace });
if (role === "server") {
  await bus.expose("numbers", async function* () {
    for (let i = 0;; i++) yield i;
  });
  say("served");
} else {
  for await (const value of bus.stream("theirs")()) say(value);
}
