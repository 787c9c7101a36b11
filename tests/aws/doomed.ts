/** A process that opens a bus, subscribes, serves, holds an item, reports it, and waits to be killed. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { aws, type AwsOptions } from "../../src/providers/aws/provider.ts";
import { Peer } from "../support/peer.ts";
import { say, told } from "../support/peer_side.ts";

/** The arguments of the process. */
export interface Doom {
  readonly options: AwsOptions;
  readonly namespace: string;
  readonly topics: readonly string[];
}

/** Starts the process; there must be an item in `jobs`. Resolves when the process has reported the item. */
export async function startDoomed(doom: Doom): Promise<{ peer: Peer; item: unknown }> {
  const peer = Peer.start(new URL(import.meta.url), { args: [JSON.stringify(doom)] });
  return { peer, item: await peer.next() };
}

if (import.meta.main) {
  const { options, namespace, topics } = JSON.parse(process.argv[2]!) as Doom;
  const bus = await Bus.open(aws(options), { namespace });
  await Promise.all(topics.map((topic) => bus.subscribe(topic, () => {}).ready));
  await bus.subscribe("t*", () => {}, { pattern: true }).ready;
  await bus.expose("fn", () => "served");
  const { item } = await bus.queue<string>("jobs").receive({ lease: 2_000 });
  say(item);
  for await (const _ of told()); // until the test ends
}
