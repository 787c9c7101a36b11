/** Uses queues as a plain user with the default limits, and prints the results. Argument: the operation. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ALL, shareOfOther } from "../support/share.ts";
import { fewDescriptors, HandmadeBus } from "./ground.ts";
import { keepWorkers, keptKit } from "./kept_workers.ts";

const doing: Record<string, (namespace: string, ...counts: number[]) => Promise<unknown>> = {
  async buses(namespace, alive, all) {
    const buses: Bus[] = [];
    // the queues of the first buses take the room of buses, but no worker reads them
    const handmade = [];
    for (let i = 0; i < all - alive; i++) {
      const bus = await HandmadeBus.open(namespace);
      handmade.push(bus);
      bus.createQueues();
    }
    for (let i = 0; i < alive; i++) buses.push(await Bus.open(ipc(), { namespace, connectTimeout: 60_000 }));
    let received = 0;
    await Promise.all(buses.map((bus) => bus.subscribe("all", () => void received++).ready));
    const reached = await buses[0]!.publish("hello", "all");
    while (received < alive) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const bus of handmade) bus[Symbol.dispose]();
    await Promise.all(buses.map((bus) => bus.close()));
    return { reached, received };
  },
  async reserve(namespace) {
    const buses = [await Bus.open(ipc(), { namespace })];
    const queues = Array.from({ length: 12 }, (_, i) => buses[0]!.queue(`queue-${i}`));
    for (const queue of queues) await queue.put("item");
    while (buses.length < 6) buses.push(await Bus.open(ipc(), { namespace, connectTimeout: 2_000 }));
    for (const queue of queues) await queue.free();
    for (const bus of buses) await bus.close();
    return { opened: buses.length };
  },
  async queues(namespace, count) {
    if (!ALL) fewDescriptors();
    const bus = await Bus.open(ipc(), { namespace });
    const posix = await loadPosix();
    let got = 0;
    // more than the descriptors of this process and the 256 queues of the system
    for (let i = 0; i < count; i++) {
      const queue = bus.queue<number>(`queue-${i}`);
      await queue.put(i);
      if (await queue.get() === i) got++;
      await queue.free();
    }
    const descriptors = (posix.list("/proc/self/fd") as string[])
      .filter((name) => String(posix.readLink(`/proc/self/fd/${name}`)).startsWith("/pymq_")).length;
    await bus.close();
    return { got, few: descriptors < 80 };
  },
  async kit() {
    // `tests/conformance/ipc_test.ts` runs the other half under this runtime
    const all = shareOfOther(keptKit((worker) => ipc({ messageSize: 1_024, worker })));
    const endWorkers = keepWorkers();
    const cases = all.filter(({ skip }) => !skip);
    const failed: string[] = [];
    const count = cases.length;
    const lane = async () => {
      for (let one; (one = cases.shift());) await one.run().catch((error) => failed.push(`${one!.name}: ${error}`));
    };
    await Promise.all([lane(), lane(), lane(), lane()]);
    endWorkers();
    return { passed: count - failed.length > 50, failed };
  },
};

const [what, namespace, ...counts] = process.argv.slice(2) as [string, string, ...string[]];
console.log(JSON.stringify(await doing[what]!(namespace, ...counts.map(Number))));
